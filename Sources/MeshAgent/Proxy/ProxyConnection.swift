// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshVersion
import ProxyProtocol

/// One proxy as the agent sees it: its process, its link, and what it has been told.
final class ProxyConnection {
    typealias AgentLink = Link<ProxyMessage, AgentMessage>

    var link: AgentLink?
    /// `nil` where the agent cannot see it (another PID namespace).
    var process: WatchedProcess?
    /// Listeners that it had before.
    var returned: Set<ListenerKey> = []
    /// Requests for sockets that are not answered.
    var openLegs = 0
    /// Of the configuration that is in force there.
    private(set) var acknowledged: UInt64 = 0
    /// Why it did not take the last one.
    private(set) var rejection: String?
    /// The generation that it has been sent; `nil`: it is not known what it has.
    private var sent: UInt64?

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
