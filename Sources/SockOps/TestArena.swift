// SPDX-License-Identifier: Apache-2.0

import CMeshABI
import Glibc
import LinuxIO

/// Two pods that exist for the self-test only: a cgroup, two joined namespaces, and an instance of
/// the programs over maps of its own. Nothing is pinned, so all of it ends with the value.
struct TestArena: ~Copyable {
    let maps: MeshMaps
    private let cgroup: Cgroup
    private let clientSide: NetworkNamespace
    private let serverSide: NetworkNamespace
    private let verdict: BPFProgram
    private let links: Links

    /// Held only to keep the programs attached.
    private struct Links: ~Copyable {
        let connect: BPFLink
        let sockops: BPFLink
        let clientLookup: BPFLink
        let serverLookup: BPFLink
    }

    /// Addresses for documentation (RFC 5737): no route of the machine is concerned, the namespaces are empty.
    static let clientAddress: UInt32 = 0xC000_0201
    static let serverAddress: UInt32 = 0xC000_0202

    private static let programs = ["mesh_connect4", "mesh_sockops", "mesh_lookup", "mesh_msg", "mesh_msg_stub"]

    /// - Parameter cgroup: exists and has no other use.
    init(object file: consuming BPFObjectFile, cgroup: Cgroup) throws(BPFError) {
        let clientSide = try BPFError.telling { () throws(SystemError) in try NetworkNamespace.makeNew() }
        let serverSide = try BPFError.telling { () throws(SystemError) in try NetworkNamespace.makeNew() }
        let directory = try BPFError.telling { () throws(SystemError) in try cgroup.open() }
        let cookies = try BPFError.telling { () throws(SystemError) -> (client: UInt64, server: UInt64) in
            try Sandbox.join(
                clientSide, serverSide, device: "mesh-selftest", addresses: (Self.clientAddress, Self.serverAddress),
                prefixLength: 30)
            return (try clientSide.cookie(), try serverSide.cookie())
        }

        file.keepOnly(programs: Self.programs)
        // Preallocated maps of full size would cost more time than the test.
        for (name, shape) in file.maps where shape.isPreallocatedTable && shape.maxEntries > 64 {
            try file.setCapacity(64, of: name)
        }
        let object = try file.load()
        let maps = try MeshMaps { name throws(BPFError) in try object.map(name) }
        try Self.enrol(cookies, in: maps)

        let verdict = try object.program("mesh_msg")
        try maps.slots.set(0, verdict)
        try maps.sockets.attach(object.program("mesh_msg_stub"))
        let lookup = try object.program("mesh_lookup")
        let connect = try BPFLink(
            attaching: object.program("mesh_connect4"), to: directory.rawValue, at: .connect4, targetName: cgroup.path)
        let sockops = try BPFLink(
            attaching: object.program("mesh_sockops"), to: directory.rawValue, at: .sockOps, targetName: cgroup.path)
        let clientLookup = try BPFLink(
            attaching: lookup, to: clientSide.rawDescriptor, at: .socketLookup, targetName: "the client's namespace")
        let serverLookup = try BPFLink(
            attaching: lookup, to: serverSide.rawDescriptor, at: .socketLookup, targetName: "the server's namespace")

        self.maps = maps
        self.cgroup = cgroup
        self.clientSide = clientSide
        self.serverSide = serverSide
        self.verdict = verdict
        self.links = Links(
            connect: connect, sockops: sockops, clientLookup: clientLookup, serverLookup: serverLookup)
    }

    private static func enrol(
        _ cookies: (client: UInt64, server: UInt64), in maps: borrowing MeshMaps
    ) throws(BPFError) {
        maps.control.store(UInt32(MESH_CTL_ACCELERATE.rawValue), to: \.flags)
        // Limits that the test stays below; `small_write` 0 means that no write is small.
        maps.control.store(1 << 20, to: \.high_water)
        maps.control.store(1024, to: \.message_cap)
        maps.control.store(0, to: \.small_write)
        maps.control.store(UInt32.max, to: \.small_write_run)
        maps.control.store(1000, to: \.ends_quota)
        maps.control.publish(1, to: \.generation)
        for (cookie, address, identity) in [
            (cookies.client, clientAddress, UInt32(256)), (cookies.server, serverAddress, UInt32(257)),
        ] {
            var workload = mesh_workload()
            workload.identity = ((identity, identity), (identity, identity))
            workload.flags =
                MESH_WL_READY.rawValue | MESH_WL_ACCELERATE.rawValue | MESH_WL_LOCAL_VETH.rawValue
            try maps.workloads.set(cookie, workload)
            var entry = mesh_address()
            entry.identity = (identity, identity)
            entry.flags = MESH_ADDR_NEEDS_RECORD.rawValue
            entry.netns = (cookie, cookie)
            try maps.addresses.set(mesh_ip(ipv4: address), entry)
        }
    }

    /// Makes the client's and the server's first message, and all later ones, go by TCP.
    func stopRedirecting() throws(BPFError) { try maps.slots.clear(0) }

    func startRedirecting() throws(BPFError) { try maps.slots.set(0, verdict) }

    /// Where a connection is accepted.
    struct Listener: ~Copyable {
        let descriptor: OwnedDescriptor
        let port: UInt16
    }

    /// - Parameter deferringAccept: the connection is made by its first data, as with many HTTP servers.
    func listen(deferringAccept: Bool = false) throws(SystemError) -> Listener {
        let descriptor = try Sandbox.makeSocket(
            in: cgroup, serverSide, domain: AF_INET, type: CInt(SOCK_STREAM.rawValue))
        try TestConnection.setTimeLimits(descriptor)
        let raw = descriptor.rawValue
        if deferringAccept {
            var seconds: CInt = 1
            try SystemError.check("setsockopt(TCP_DEFER_ACCEPT)") {
                setsockopt(raw, CInt(IPPROTO_TCP), TCP_DEFER_ACCEPT, &seconds, socklen_t(MemoryLayout<CInt>.size))
            }
        }
        try Self.withAddress(Self.serverAddress, port: 0) { address, length throws(SystemError) in
            try SystemError.check("bind") { bind(raw, address, length) }
        }
        try SystemError.check("listen") { Glibc.listen(raw, 8) }
        return Listener(descriptor: descriptor, port: try Self.localPort(raw))
    }

    /// Connects to `listener`; `beforeAccept` runs between connect and accept.
    func connect(
        _ listener: borrowing Listener, beforeAccept: (CInt) -> Void = { _ in }
    ) throws(SystemError) -> TestConnection {
        let client = try Sandbox.makeSocket(in: cgroup, clientSide, domain: AF_INET, type: CInt(SOCK_STREAM.rawValue))
        try TestConnection.setTimeLimits(client)
        let raw = client.rawValue
        try Self.withAddress(Self.serverAddress, port: listener.port) { address, length throws(SystemError) in
            // Not through the gate: a connect must not be repeated after EINTR.
            guard Glibc.connect(raw, address, length) == 0 else {
                throw SystemError("connect", "of the self-test", errnoCode: errno)
            }
        }
        beforeAccept(raw)
        let accepted = try SystemError.check("accept", "of the self-test") {
            accept(listener.descriptor.rawValue, nil, nil)
        }
        let server = OwnedDescriptor(adopting: accepted)
        try TestConnection.setTimeLimits(server)
        return TestConnection(client: client, server: server, clientPort: try Self.localPort(raw))
    }

    /// The path that the records give for what `connection` sends in `direction`; nil without a record.
    func path(
        _ connection: borrowing TestConnection, _ direction: TestConnection.Direction
    ) throws(BPFError) -> (path: mesh_path, reason: UInt8)? {
        var key = mesh_flow_key()
        let server = try Self.serverPort(connection)
        let isClient = direction == .toServer
        key.local = mesh_ip(ipv4: isClient ? Self.clientAddress : Self.serverAddress)
        key.remote = mesh_ip(ipv4: isClient ? Self.serverAddress : Self.clientAddress)
        key.local_port = isClient ? connection.clientPort : server
        key.remote_port = isClient ? server : connection.clientPort
        guard let end = try maps.ends.get(key) else { return nil }
        return (mesh_path(rawValue: UInt32(end.path)), end.reason)
    }

    private static func serverPort(_ connection: borrowing TestConnection) throws(BPFError) -> UInt16 {
        let raw = connection.server.rawValue
        return try BPFError.telling { () throws(SystemError) in try localPort(raw) }
    }

    private static func localPort(_ raw: CInt) throws(SystemError) -> UInt16 {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        try SystemError.check("getsockname") {
            withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(raw, $0, &length) }
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    private static func withAddress(
        _ host: UInt32, port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) throws(SystemError) -> Void
    ) throws(SystemError) {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = host.bigEndian
        var failure: SystemError?
        withUnsafePointer(to: address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                do throws(SystemError) {
                    try body(pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
                } catch {
                    failure = error
                }
            }
        }
        if let failure { throw failure }
    }
}

extension mesh_ip {
    /// - Parameter ipv4: in host byte order; becomes `::ffff:a.b.c.d`.
    init(ipv4: UInt32) {
        self.init(word: (0, 0, UInt32(0xffff).bigEndian, ipv4.bigEndian))
    }
}
