// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import Logging
import MeshModel
import ProxyProtocol
import SockOps

/// Tells the kernel's programs where the proxy listens inside pods.
///
/// Only listeners for what pods send: what comes in from outside the mesh needs the proxy only where policies of L7 are
/// enforced.
final class ListenerRows {
    private struct Row {
        var ports: [ListenerKey.Family: UInt16] = [:]
        var addresses: [IPAddress] = []
        /// As the kernel has it.
        var written: Written?
    }

    private struct Written: Equatable {
        var ports: [ListenerKey.Family: UInt16]
        var addresses: [IPAddress]
    }

    private var rows: [NetnsCookie: Row] = [:]
    private let writer: KernelWriter
    private let logger: Logger

    init(_ writer: KernelWriter, logger: Logger) {
        self.writer = writer
        self.logger = logger
    }

    /// Removes what an earlier agent has left of pods that are not enrolled any more.
    func removeStrangers(but enrolled: Set<NetnsCookie>) {
        var gone: [NetnsCookie] = []
        do throws(BPFError) {
            try writer.plane.maps.listeners.forEach { cookie, _ in
                if !enrolled.contains(cookie) { gone.append(cookie) }
            }
            for cookie in gone { try writer.plane.removeListener(in: cookie) }
        } catch {
            logger.error("listeners of pods that have gone are not cleared away", metadata: ["error": "\(error)"])
        }
    }

    /// The listener is marked before anything is led to it.
    func add(_ listener: Listener, _ socket: SharedDescriptor) {
        do throws(BPFError) { try writer.plane.mark(socket.rawValue, as: .listener) } catch {
            logger.error("a listener cannot be marked", metadata: ["listener": "\(listener.key)", "error": "\(error)"])
            return
        }
        guard listener.key.direction == .outbound else { return }
        rows[listener.key.netns, default: Row()].ports[listener.key.family] = listener.port
        write(listener.key.netns)
    }

    func remove(_ key: ListenerKey) {
        guard key.direction == .outbound, rows[key.netns]?.ports.removeValue(forKey: key.family) != nil else { return }
        write(key.netns)
    }

    /// The addresses of a pod, which captured sockets are bound to.
    func setAddresses(_ addresses: [IPAddress], of netns: NetnsCookie) {
        guard rows[netns]?.addresses != addresses else { return }
        rows[netns, default: Row()].addresses = addresses
        write(netns)
    }

    /// Forgets pods that have left; their listeners have been removed.
    func keep(_ enrolled: Set<NetnsCookie>) {
        for (netns, row) in rows where !enrolled.contains(netns) && row.ports.isEmpty { rows[netns] = nil }
    }

    private func write(_ netns: NetnsCookie) {
        guard let row = rows[netns] else { return }
        let wanted = row.ports.isEmpty ? nil : Written(ports: row.ports, addresses: row.addresses)
        guard wanted != row.written else { return }
        do throws(BPFError) {
            if let wanted {
                try writer.plane.setListener(Self.encode(wanted), in: netns)
            } else {
                try writer.plane.removeListener(in: netns)
            }
            rows[netns]?.written = wanted
        } catch {
            logger.error("a listener is not in force", metadata: ["netns": "\(netns)", "error": "\(error)"])
        }
    }

    private static func encode(_ row: Written) -> mesh_listener {
        var listener = mesh_listener()
        if let address = row.addresses.first(where: \.isIPv4) { listener.address.0 = mesh_ip(address) }
        if let address = row.addresses.first(where: { !$0.isIPv4 }) { listener.address.1 = mesh_ip(address) }
        listener.outbound = (row.ports[.ipv4] ?? 0, row.ports[.ipv6] ?? 0)
        return listener
    }
}
