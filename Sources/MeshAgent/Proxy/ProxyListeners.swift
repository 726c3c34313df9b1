// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Logging
import ProxyProtocol

/// The listeners inside pods: which there should be, and those that there are.
///
/// The agent keeps a descriptor of each, so that they outlive proxies and factories; it keeps none of a namespace.
final class ProxyListeners {
    typealias Entry = (listener: Listener, socket: SharedDescriptor)

    private(set) var workloads: [UInt64: ProxyWorkload] = [:]
    private(set) var entries: [ListenerKey: Entry] = [:]
    /// Called for each that is made or comes back.
    var onAdd: (Entry) -> Void = { _ in }
    var onRemove: (ListenerKey) -> Void = { _ in }

    private let logger: Logger
    private let backlog: UInt32
    private var factory: FactoryClient?
    /// Namespaces that the factory has.
    private var added: Set<UInt64> = []
    private var asked: Set<ListenerKey> = []
    /// Asked for and refused, until there is a new factory: pods without IPv6 have two of these.
    private var refused: Set<ListenerKey> = []

    init(backlog: UInt32, logger: Logger) {
        self.backlog = backlog
        self.logger = logger
    }

    /// A new factory knows nothing.
    func setFactory(_ factory: FactoryClient?) {
        self.factory = factory
        added = []
        asked = []
        refused = []
    }

    /// - Parameter isMaking: whether those that are missing may be made now.
    func set(_ new: [ProxyWorkload], isMaking: Bool) {
        let next = Dictionary(new.map { ($0.netns, $0) }, uniquingKeysWith: { first, _ in first })
        guard next != workloads else { return }
        let gone = workloads.keys.filter { next[$0] == nil }
        workloads = next
        for netns in gone.sorted() {
            for key in ListenerKey.all(of: netns) {
                refused.remove(key)
                if entries.removeValue(forKey: key) != nil { onRemove(key) }
            }
            if added.remove(netns) != nil { factory?.removeWorkload(netns: netns) }
        }
        if isMaking { makeMissing() }
    }

    /// One that a proxy has given back.
    ///
    /// - Returns: whether it is wanted: its pod is enrolled.
    func adopt(_ entry: Entry) -> Bool {
        let key = entry.listener.key
        guard workloads[key.netns] != nil else { return false }
        guard entries[key] == nil else { return true }
        entries[key] = entry
        onAdd(entry)
        return true
    }

    /// Ends all that there are, in whatever process they are open, and makes others.
    ///
    /// - Parameter isMaking: whether they may be made now.
    func replaceAll(isMaking: Bool) {
        for (key, entry) in entries {
            StreamSocket.endListening(entry.socket.rawValue)
            entries[key] = nil
            onRemove(key)
        }
        if isMaking { makeMissing() }
    }

    func makeMissing() {
        guard factory != nil else { return }
        for (netns, workload) in workloads.sorted(by: { $0.key < $1.key }) {
            let missing = ListenerKey.all(of: netns)
                .filter { entries[$0] == nil && !asked.contains($0) && !refused.contains($0) }
            guard !added.contains(netns) || !missing.isEmpty else { continue }
            // The rest when these have been answered.
            guard let factory, factory.openRequests + missing.count + 1 <= factory.mostRequests else { return }
            if !introduce(workload, to: factory) { continue }
            for key in missing { make(key, factory) }
        }
    }

    /// Gives the factory the pod's namespace, unless it has it: what is asked of it afterwards can be made there.
    ///
    /// - Returns: whether the namespace could be opened.
    func introduce(_ workload: ProxyWorkload, to factory: FactoryClient) -> Bool {
        let netns = workload.netns
        guard !added.contains(netns) else { return true }
        let namespace: SharedDescriptor
        do throws(SystemError) { namespace = try workload.openNamespace() } catch {
            // Its pod is going, or is looked at again.
            logger.debug("no listeners for a pod", metadata: ["netns": "\(workload.path)", "error": "\(error)"])
            return false
        }
        added.insert(netns)
        factory.addWorkload(netns: netns, namespace) { [weak self, weak factory] result in
            guard let self, let factory, case .failure(let refusal) = result, self.factory === factory else { return }
            added.remove(netns)
            logger.error("the socket factory refuses a pod", metadata: ["netns": "\(netns)", "error": "\(refusal)"])
        }
        return true
    }

    private func make(_ key: ListenerKey, _ factory: FactoryClient) {
        asked.insert(key)
        factory.makeListener(key, backlog: backlog) { [weak self, weak factory] result in
            guard let self, let factory, self.factory === factory else { return }
            asked.remove(key)
            switch result {
            case .success(let answer):
                // The pod may have left meanwhile; another proxy may have given one back.
                guard let socket = answer.socket, workloads[key.netns] != nil, entries[key] == nil else { break }
                let entry: Entry = (Listener(key, port: answer.port), socket)
                entries[key] = entry
                onAdd(entry)
            case .failure(let refusal):
                refused.insert(key)
                logger.log(
                    level: key.family == .ipv6 ? .info : .error, "a listener cannot be made",
                    metadata: ["listener": "\(key)", "error": "\(refusal)"])
            }
            if factory.openRequests == 0 { makeMissing() }
        }
    }
}
