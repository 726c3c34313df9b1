// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshVersion
import ProxyProtocol

/// One proxy as the agent sees it: its process, its link, and what it has been told.
final class ProxyConnection {
    typealias AgentLink = Link<ProxyMessage, AgentMessage>

    var link: AgentLink?
    /// `nil` where the agent cannot see it (another PID namespace, before Linux 6.5).
    var process: WatchedProcess?
    /// Somebody else has started it.
    var isFound = false
    /// It has said that it serves nobody any more.
    var isDrained = false
    /// Listeners that it had before.
    var returned: Set<ListenerKey> = []
    /// It has been ended, and the supervision will hear of it.
    var isGivenUp = false
    /// It has not answered in time whether it lives: what has to be in force there is not waited for.
    var isSilent = false
    /// Which identities it has.
    var identities = GivenIdentities()
    /// Requests for sockets that are not answered.
    var openLegs = 0
    /// Of the configuration that is in force there.
    private(set) var acknowledged: UInt64 = 0
    /// Why it did not take the last one.
    private(set) var rejection: String?
    /// The generation that it has been sent; `nil`: it is not known what it has.
    private var sent: UInt64?

    /// Of the kernel's policy: the last that it was told it has.
    private var policy: UInt32 = 0

    /// Whether requests there may be judged by less than the configuration of `generation`. Of one that it has refused
    /// nothing is awaited.
    func isBehind(_ generation: UInt64) -> Bool { acknowledged < generation && sent == generation }

    /// Ends the process.
    ///
    /// - Parameter waits: until it has ended, two seconds at most.
    /// - Returns: whether it will serve nobody; not one that is out of the agent's reach.
    func end(waits: Bool = false) -> Bool {
        guard let process else { return isDrained || !isFound }
        process.forget()
        // One that takes longer to end has its signal all the same.
        return waits && process.killAndWait() || process.kill() || isDrained
    }

    var pid: Int32 { process?.pid ?? 0 }
    var version: String { link?.hello?.program ?? "" }

    /// Bytes of a change that goes as messages; more goes in a file.
    static let changeBytes = 1 << 20

    /// Brings the proxy to `state`.
    ///
    /// - Parameter change: the last one that has led there. Sent alone to a proxy that has what was before.
    func send(
        _ state: ConfigurationState, _ change: ConfigurationChange?, limits: LinkLimits = LinkLimits()
    ) throws(SystemError) {
        guard let link, sent != state.generation else { return }
        defer { sent = state.generation }
        if let change, change.base == sent {
            let size = change.size
            // A packet has a header and lengths beside the record.
            if size.longest <= limits.packetBytes - 256, size.total <= Self.changeBytes {
                for message in change.messages { link.send(message) }
                return
            }
        }
        link.send(.snapshot(state.generation), [try SealedMemory.make("sockmesh-configuration", state.wire)])
    }

    /// Says that the configuration of `generation`, which it was sent, has the kernel's policy up to `policy`.
    func tell(policy: UInt32, by generation: UInt64) {
        // One of an earlier version does not know the message.
        guard let link, self.policy != policy, link.hello.map({ $0.version.minor >= 1 }) ?? false else { return }
        self.policy = policy
        link.send(.policy(policy, by: generation))
    }

    func acknowledge(_ generation: UInt64) {
        acknowledged = generation
        rejection = nil
    }

    func reject(_ reason: String) {
        rejection = reason
        // What it keeps of the change is its own affair: the next is sent whole.
        sent = nil
    }
}
