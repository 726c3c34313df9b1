// SPDX-License-Identifier: Apache-2.0
import LinuxIO

extension ProxySupervisor {
    struct Configuration: Hashable, Sendable {
        /// Executables.
        var proxyProgram: String
        var proxyOptions = ProxyOptions()
        var agentProgram: String
        /// Where the factory runs: below the hooked cgroup, so that the mesh sees the sockets that it makes.
        var factoryCgroup: Cgroup
        /// Where a proxy finds the next agent.
        var socket: String
        /// Whom the proxy runs as.
        var user: UInt32 = 65532
        var group: UInt32 = 65532
        /// Connections of a listener that wait to be accepted.
        var backlog: UInt32 = 1024
    }
}
