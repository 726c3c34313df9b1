// SPDX-License-Identifier: Apache-2.0

import Glibc
import L7Proxy
import LinuxIO
import MeshModel
import ProxyProcess
import ProxyProtocol

/// A request through an engine of a confined process: listener, leg and client are made before.
final class Serving: ProxyProcess.LegSource {
    private let loop: EventLoop
    private let listener: SharedDescriptor
    private let backend: SharedDescriptor
    private let leg: SharedDescriptor
    private let client: SharedDescriptor
    private let log: (read: SharedDescriptor, write: SharedDescriptor)
    private let ports: (listener: UInt16, backend: UInt16)

    init() throws {
        loop = try EventLoop()
        let loopback = IPAddress(v4: 0x7f00_0001)
        func listening() throws(SystemError) -> SharedDescriptor {
            let socket = try InetSocket.make(isIPv4: true)
            try InetSocket.bind(socket, to: loopback.bytes, isIPv4: true)
            try InetSocket.listen(socket, backlog: 8)
            return socket
        }
        listener = try listening()
        backend = try listening()
        leg = try InetSocket.make(isIPv4: true)
        client = try InetSocket.make(isIPv4: true)
        var pair: [CInt] = [0, 0]
        try SystemError.check("socketpair") { socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &pair) }
        log = (SharedDescriptor(adopting: pair[0]), SharedDescriptor(adopting: pair[1]))
        ports = (try InetSocket.port(of: listener), try InetSocket.port(of: backend))
    }

    var descriptors: [CInt] {
        loop.descriptors + [listener, backend, leg, client, log.read, log.write].map(\.rawValue)
    }

    func requestLeg(
        netns: UInt64, destination: SocketEndpoint, outsider: UInt32?, client: SocketEndpoint?,
        _ completion: @escaping (Result<SharedDescriptor, SocketRefusal>) -> Void
    ) { completion(.success(leg)) }

    /// - Returns: 0 if the client got the backend's answer and the log a line, else an errno.
    func run() -> CInt {
        do {
            return try serve()
        } catch let error as SystemError {
            return error.errnoCode
        } catch {
            return EPROTO
        }
    }

    private func serve() throws -> CInt {
        let address = IPAddress(v4: 0x7f00_0001)
        let place = (ports.listener, address)
        let origins: OriginReader = { (socket) throws(SystemError) in
            do throws(SystemError) { return try KernelOrigin(ofAccepted: socket) } catch {
                // The call must be made; here nobody has attached the programs that know.
                guard error.errnoCode == EOPNOTSUPP || error.errnoCode == ENOPROTOOPT else { throw error }
            }
            return KernelOrigin(
                destination: place.1, port: place.0, client: place.1, clientPort: 1, netns: 1, sourceNetns: 1,
                direction: .outbound)
        }
        let engine = try HTTPEngine(
            on: loop, legs: self,
            HTTPEngine.Options(workers: 2, accessLog: .json, accessLogDescriptor: log.write.rawValue), log: { _ in },
            origins: origins)
        let service = ServiceRecord(
            service: NamespacedName(namespace: "shop", name: "web"), port: ports.listener, addresses: [address],
            endpoints: [ServiceRecord.Endpoint(address: address, port: ports.backend)])
        try engine.apply(ProxyConfiguration(ConfigurationState(generation: 1, [.service(service)]))) {}
        let key = ListenerKey(netns: 1, direction: .outbound, family: .ipv4)
        engine.serve(Listener(key, port: ports.listener), listener)
        _ = StreamSocket.connect(client.rawValue, to: .loopback(port: ports.listener))
        try send("GET / HTTP/1.1\r\nHost: web\r\n\r\n", to: client.rawValue)
        guard let connection = try accept() else { return ETIMEDOUT }
        _ = try receive(connection.rawValue)
        try send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", to: connection.rawValue)
        guard try receive(client.rawValue).hasSuffix("ok") else { return EPROTO }
        guard try receive(log.read.rawValue).hasSuffix("}\n") else { return EPROTO }
        var isDrained = false
        engine.drain(within: .milliseconds(20)) { isDrained = true }
        for _ in 0..<5000 where !isDrained { try loop.turn(waitingAtMost: .milliseconds(2)) }
        return isDrained ? 0 : ETIMEDOUT
    }

    private func accept() throws -> OwnedDescriptor? {
        for _ in 0..<5000 {
            var peer = StreamEndpoint.loopback(port: 0)
            let accepted = StreamSocket.accept(backend.rawValue, from: &peer)
            if accepted >= 0 { return OwnedDescriptor(adopting: CInt(accepted)) }
            try loop.turn(waitingAtMost: .milliseconds(2))
        }
        return nil
    }

    private func send(_ text: String, to descriptor: CInt) throws {
        let bytes = Array(text.utf8)
        for _ in 0..<5000 {
            if StreamSocket.send(descriptor, bytes, bytes.count) == bytes.count { return }
            try loop.turn(waitingAtMost: .milliseconds(2))
        }
    }

    private func receive(_ descriptor: CInt) throws -> String {
        var memory = [UInt8](repeating: 0, count: 4096)
        for _ in 0..<5000 {
            let count = recv(descriptor, &memory, memory.count, 0)
            if count > 0 { return String(decoding: memory[..<count], as: UTF8.self) }
            try loop.turn(waitingAtMost: .milliseconds(2))
        }
        return ""
    }
}
