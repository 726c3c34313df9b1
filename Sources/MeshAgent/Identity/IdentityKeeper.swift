// SPDX-License-Identifier: Apache-2.0

import Identity
import IdentityProviders
import LinuxIO
import Logging
import MeshAdmin
import MeshModel
import TLSEngine

/// Has a certificate for each identity of the node's enrolled pods, and keeps asking for those that it lacks.
///
/// Belongs to the control thread. Says to nobody else than its provider which identities are wanted: those of pods that
/// are enrolled here, and no others.
final class IdentityKeeper {
    /// An identity that is wanted.
    struct Entry {
        /// In order.
        var pods: [NamespacedName]
        /// The last one that was obtained. In use until it expires, whatever becomes of the next.
        var svid: X509SVID?
        /// Why there is no newer one.
        var error: String?
        var failingSince: UnixTime?
        /// When the log was told last.
        fileprivate var complained: UnixTime?

        /// Whether somebody should look.
        func isAlarming(at now: UnixTime) -> Bool {
            svid.map { $0.notAfter <= now } ?? false
                || failingSince.map { now - $0 >= IdentityKeeper.patience } ?? false
        }
    }

    /// What has changed.
    struct Change {
        var trust = false
        var identities: Set<SPIFFEID> = []
        var isEmpty: Bool { !trust && identities.isEmpty }
    }

    /// Seconds that a failure may last before it is an alarm.
    static let patience: Int64 = 60
    /// Seconds between two lines of the log about the same failure.
    static let repetition: Int64 = 600
    /// Longest time between two looks at the clock: it may be set, and it goes on while the machine sleeps.
    private static let longestPause: Int64 = 30

    let provider: any IdentityProvider
    private(set) var entries: [SPIFFEID: Entry] = [:]
    private(set) var trust: TrustMaterial?
    /// What the provider itself complains of.
    private(set) var trouble: String?
    /// Whether what an agent before had is known: nothing is asked for before.
    private(set) var hasBegun = false
    /// Called after each change, from the loop or from ``setPods(_:)``.
    var didChange: (Change) -> Void = { _ in }

    private let loop: EventLoop
    private let logger: Logger
    private let clock: () -> UnixTime
    private var timer: EventLoop.Timer?
    private var refused: Set<NamespacedName> = []

    init(
        _ provider: any IdentityProvider, on loop: EventLoop, logger: Logger,
        clock: @escaping () -> UnixTime = { .now }
    ) {
        self.provider = provider
        self.loop = loop
        self.logger = logger
        self.clock = clock
        provider.onNews = { [weak self] in
            guard let self else { return }
            self.loop.enqueue { [weak self] in self?.turn() }
        }
    }

    deinit {
        if let timer { loop.cancel(timer) }
    }

    var now: UnixTime { clock() }

    /// Begins, with what an agent before had.
    func begin(adopting svids: [X509SVID] = [], _ trust: TrustMaterial? = nil) {
        guard !hasBegun else { return }
        hasBegun = true
        if !svids.isEmpty || trust != nil { provider.adopt(svids, trust, at: clock()) }
        provider.request(Set(entries.keys))
        turn()
    }

    /// The enrolled pods of the node, with their service accounts.
    func setPods(_ pods: [NamespacedName: String]) {
        var wanted: [SPIFFEID: [NamespacedName]] = [:]
        for (pod, account) in pods {
            do throws(SPIFFEIDError) {
                let id = try SPIFFEID(provider.trustDomain, namespace: pod.namespace, serviceAccount: account)
                wanted[id, default: []].append(pod)
                refused.remove(pod)
            } catch {
                guard refused.insert(pod).inserted else { continue }
                logger.error("a pod can have no identity", metadata: ["pod": "\(pod)", "reason": "\(error)"])
            }
        }
        refused = refused.filter { pods[$0] != nil }
        let isSame = wanted.count == entries.count && wanted.keys.allSatisfy { entries[$0] != nil }
        var change = Change()
        for id in entries.keys where wanted[id] == nil {
            if entries.removeValue(forKey: id)?.svid != nil { change.identities.insert(id) }
        }
        for (id, list) in wanted { entries[id, default: Entry(pods: [])].pods = list.sorted() }
        guard hasBegun, !isSame else { return }
        provider.request(Set(entries.keys))
        if !change.isEmpty { didChange(change) }
        turn()
    }

    /// Asks for new certificates now; those in use stay in use until these are there.
    func renew(_ request: IdentitiesRequest) {
        guard hasBegun else { return }
        provider.renew(Set(entries.keys.filter(request.selects)), at: clock())
        turn()
    }

    /// Does what is due, and sets the timer for what comes next.
    private func turn() {
        guard hasBegun else { return }
        let now = clock()
        var change = Change()
        for update in provider.advance(to: now) { take(update, at: now, &change) }
        if let timer { loop.cancel(timer) }
        let pause = min(max(provider.nextDue - now, 0), Self.longestPause)
        // Not at once: others have work too, and a provider that always has something due must not keep the loop.
        timer = loop.schedule(after: pause == 0 ? .milliseconds(1) : .seconds(pause)) { [weak self] in
            self?.timer = nil
            self?.turn()
        }
        if !change.isEmpty { didChange(change) }
    }

    private func take(_ update: IdentityUpdate, at now: UnixTime, _ change: inout Change) {
        switch update {
        case .trust(let new):
            trust = new
            change.trust = true
        case .issued(let svid):
            guard var entry = entries[svid.id] else { return }
            let hadFailed = entry.failingSince != nil
            (entry.svid, entry.error, entry.failingSince, entry.complained) = (svid, nil, nil, nil)
            entries[svid.id] = entry
            change.identities.insert(svid.id)
            logger.log(
                level: hadFailed ? .notice : .debug, "a certificate was obtained",
                metadata: [
                    "identity": "\(svid.id)", "serial": "\(svid.serial)", "notAfter": "\(svid.notAfter)",
                ])
        case .withdrawn(let id):
            if entries[id] == nil { change.identities.insert(id) }
        case .failed(let id, let reason, let health):
            guard var entry = entries[id] else { return }
            entry.error = reason
            entry.failingSince = entry.failingSince ?? now
            complain(id, &entry, health, at: now)
            entries[id] = entry
        case .trouble(let reason):
            if let reason, trouble != reason {
                logger.error("the identity provider is in trouble", metadata: ["reason": "\(reason)"])
            } else if reason == nil, trouble != nil {
                logger.notice("the identity provider is well again")
            }
            trouble = reason
        }
    }

    /// At the first failure, when it becomes an alarm, and then from time to time.
    private func complain(_ id: SPIFFEID, _ entry: inout Entry, _ health: RenewalSchedule.Health, at now: UnixTime) {
        guard let since = entry.failingSince else { return }
        let isAlarm = now - since >= Self.patience
        if let last = entry.complained {
            let wasAlarm = last - since >= Self.patience
            guard isAlarm && !wasAlarm || now - last >= Self.repetition else { return }
        }
        entry.complained = now
        let use: String =
            switch health {
            case .missing: "there is none, connections of these pods fail"
            case .expired(let time): "it expired at \(time), connections of these pods fail"
            case .current, .renewalFails: "the one before is in use until \(entry.svid.map { "\($0.notAfter)" } ?? "-")"
            }
        logger.log(
            level: isAlarm ? .error : .warning, "no certificate could be obtained: \(use)",
            metadata: [
                "identity": "\(id)", "pods": "\(entry.pods.map(\.description).joined(separator: ", "))",
                "reason": "\(entry.error ?? "")", "since": "\(since)",
            ])
    }
}

@available(*, unavailable)
extension IdentityKeeper: Sendable {}
