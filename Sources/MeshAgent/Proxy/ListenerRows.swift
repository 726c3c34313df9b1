// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import LinuxIO
import Logging
import MeshModel
import ProxyProtocol
import SockOps

/// Tells the kernel's programs where the proxy listens inside pods.
final class ListenerRows {
    private struct Row {
        var ports: [ListenerKey: UInt16] = [:]
        var addresses: [IPAddress] = []
        /// What an earlier agent has left: listeners that are about to come back one by one.
        var adopted: mesh_listener?
        /// As the kernel has it.
        var written: Written?

        func port(_ direction: ListenerKey.Direction, _ family: ListenerKey.Family, in netns: NetnsCookie) -> UInt16 {
            if let port = ports[ListenerKey(netns: netns, direction: direction, family: family)] { return port }
            guard let adopted else { return 0 }
            let both = direction == .outbound ? adopted.outbound : adopted.inbound
            return family == .ipv4 ? both.0 : both.1
        }
    }

    private struct Written: Equatable {
        /// Outbound, inbound, each by IPv4 and IPv6.
        var ports: [UInt16]
        var addresses: [IPAddress]
    }

    private var rows: [NetnsCookie: Row] = [:]
    private let writer: KernelWriter
    private let logger: Logger

    init(_ writer: KernelWriter, logger: Logger) {
        self.writer = writer
        self.logger = logger
    }

    /// Takes over what an earlier agent has left, and removes what is of pods that are not enrolled any more.
    func adopt(_ enrolled: Set<NetnsCookie>) {
        var gone: [NetnsCookie] = []
        do throws(BPFError) {
            try writer.plane.maps.listeners.forEach { cookie, listener in
                if enrolled.contains(cookie) {
                    rows[cookie, default: Row()].adopted = listener
                } else {
                    gone.append(cookie)
                }
            }
            for cookie in gone { try writer.plane.removeListener(in: cookie) }
        } catch {
            logger.error("listeners of pods that have gone are not cleared away", metadata: ["error": "\(error)"])
        }
    }

    /// Whether everything that a pod sends can be led to the proxy.
    func serve(_ netns: NetnsCookie) -> Bool {
        guard let row = rows[netns], row.written != nil, !row.addresses.isEmpty else { return false }
        return row.addresses.allSatisfy { row.port(.outbound, $0.isIPv4 ? .ipv4 : .ipv6, in: netns) != 0 }
    }

    /// The listener is marked, and its port is for nobody else, before anything is led to it.
    func add(_ listener: Listener, _ socket: SharedDescriptor) {
        let key = listener.key
        do throws(BPFError) { try writer.plane.mark(socket.rawValue, as: .listener) } catch {
            logger.error("a listener cannot be marked", metadata: ["listener": "\(key)", "error": "\(error)"])
            return
        }
        rows[key.netns, default: Row()].ports[key] = listener.port
        write(key.netns)
        guard key.direction == .inbound else { return }
        do throws(BPFError) { try writer.plane.setInbound(socket.rawValue, key.family.ofPlane, in: key.netns) } catch {
            logger.error(
                "connections from outside the mesh that need the proxy are refused",
                metadata: ["listener": "\(key)", "error": "\(error)"])
        }
    }

    func remove(_ key: ListenerKey) {
        guard rows[key.netns]?.ports.removeValue(forKey: key) != nil else { return }
        rows[key.netns]?.adopted = nil
        if key.direction == .inbound { try? writer.plane.removeInbound(key.family.ofPlane, in: key.netns) }
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
        let ports = ListenerKey.all(of: netns).map { row.port($0.direction, $0.family, in: netns) }
        let wanted = row.ports.isEmpty ? nil : Written(ports: ports, addresses: row.addresses)
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
        listener.outbound = (row.ports[0], row.ports[1])
        listener.inbound = (row.ports[2], row.ports[3])
        return listener
    }
}

extension ListenerKey.Family {
    fileprivate var ofPlane: DataPlane.Family { self == .ipv4 ? .ipv4 : .ipv6 }
}
