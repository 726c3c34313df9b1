// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import Testing

/// Needs root: each test works in a network namespace of its own.
@Suite(.enabled(if: geteuid() == 0 || getenv("MESH_REQUIRE_ROOT") != nil, "needs root; use `make test-root`"))
struct SockDiagTests {
    static let loopback4: UInt128 = 0xffff_7f00_0001
    static let loopback6: UInt128 = 1

    @Test(arguments: [AddressForm.ipv4, .ipv6, .mapped])
    func dumpsAndCutsOneConnectionOnly(_ form: AddressForm) throws {
        try inNewNamespace { () throws(SystemError) in
            let victim = try ConnectedPair(form)
            let bystander = try ConnectedPair(form)
            let diag = try SockDiag()
            var tuples: [UInt64: SocketTuple] = [:]
            try diag.forEach(.tcp) { if $0.isConnected { tuples[$0.cookie] = $0.tuple } }
            #expect(tuples.count == 4)
            let cookie = try victim.clientCookie()
            guard let tuple = tuples[cookie] else {
                Issue.record("the dump lacks the client's socket")
                return
            }
            #expect(tuple.remotePort == victim.port)
            #expect(tuple.remoteAddress == (form == .ipv6 ? Self.loopback6 : Self.loopback4))

            #expect(try !diag.destroy(.tcp, tuple, cookie: cookie ^ 1))
            #expect(victim.clientError() == 0)
            #expect(try diag.destroy(.tcp, tuple, cookie: cookie))
            #expect(victim.clientError() == ECONNABORTED)
            #expect(victim.serverError() == ECONNRESET)
            #expect(try !diag.destroy(.tcp, tuple, cookie: cookie))
            #expect(bystander.clientError() == 0)
            #expect(bystander.serverError() == 0)
        }
    }

    @Test func cutsConnectedUDP() throws {
        try inNewNamespace { () throws(SystemError) in
            let peer = try Socket(.ipv4, type: SOCK_DGRAM)
            let port = try peer.bindToLoopback()
            let client = try Socket(.ipv4, type: SOCK_DGRAM)
            try client.connect(port: port)
            let diag = try SockDiag()
            var found: SockDiag.Entry?
            try diag.forEach(.udp) { if $0.isConnected { found = $0 } }
            #expect(found?.tuple.remotePort == port)
            guard let found else { return }
            #expect(try diag.destroy(.udp, found.tuple, cookie: found.cookie))
            #expect(client.pendingError() == ECONNABORTED)
        }
    }

    @Test func namesTheMemoryOfUnreadBytes() throws {
        try inNewNamespace { () throws(SystemError) in
            let pair = try ConnectedPair(.ipv4)
            pair.clientSends(bytes: 10_000)
            var largest: UInt32 = 0
            try SockDiag().forEach(.tcp) { largest = max(largest, $0.receiveMemory) }
            #expect(largest >= 10_000)
        }
    }
}

enum AddressForm: Sendable { case ipv4, ipv6, mapped }

/// Runs `body` in a new namespace whose loopback device is up.
private func inNewNamespace(_ body: () throws(SystemError) -> Void) throws {
    try NetworkNamespace.makeNew().run { () throws(SystemError) in
        try SystemError.check("ip link set lo up") { system("ip link set lo up") == 0 ? 0 : -1 }
        try body()
    }
}

/// A client and the accepted socket of one TCP connection over loopback.
private struct ConnectedPair: ~Copyable {
    let port: UInt16
    private let listener: Socket
    private let client: Socket
    private let server: OwnedDescriptor

    init(_ form: AddressForm) throws(SystemError) {
        let listener = try Socket(form == .ipv6 ? .ipv6 : .ipv4, type: SOCK_STREAM)
        let port = try listener.bindToLoopback()
        try listener.listen()
        let client = try Socket(form, type: SOCK_STREAM)
        try client.connect(port: port)
        let server = try listener.accept()
        self.port = port
        self.listener = listener
        self.client = client
        self.server = server
    }

    func clientCookie() throws(SystemError) -> UInt64 { try client.cookie() }
    func clientError() -> CInt { client.pendingError() }
    func serverError() -> CInt { Socket.pendingError(of: server.rawValue) }

    func clientSends(bytes: Int) { client.send(bytes: bytes) }
}

private struct Socket: ~Copyable {
    private let form: AddressForm
    private let descriptor: OwnedDescriptor

    init(_ form: AddressForm, type: __socket_type) throws(SystemError) {
        self.form = form
        let family = form == .ipv4 ? AF_INET : AF_INET6
        descriptor = OwnedDescriptor(
            adopting: try SystemError.check("socket") { socket(family, CInt(type.rawValue), 0) })
    }

    /// - Returns: the port that the kernel chose.
    func bindToLoopback() throws(SystemError) -> UInt16 {
        let raw = descriptor.rawValue
        try withAddress(port: 0) { address, length in bind(raw, address, length) }
        var name = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        _ = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(raw, $0, &length) }
        }
        return UInt16(bigEndian: name.sin6_port)  // at the same offset in sockaddr_in
    }

    func listen() throws(SystemError) {
        let raw = descriptor.rawValue
        try SystemError.check("listen") { Glibc.listen(raw, 8) }
    }

    func accept() throws(SystemError) -> OwnedDescriptor {
        let raw = descriptor.rawValue
        return OwnedDescriptor(adopting: try SystemError.check("accept") { Glibc.accept(raw, nil, nil) })
    }

    func connect(port: UInt16) throws(SystemError) {
        let raw = descriptor.rawValue
        try withAddress(port: port) { address, length in Glibc.connect(raw, address, length) }
    }

    func cookie() throws(SystemError) -> UInt64 {
        let raw = descriptor.rawValue
        var value: UInt64 = 0
        var length = socklen_t(8)
        try SystemError.check("getsockopt(SO_COOKIE)") { getsockopt(raw, SOL_SOCKET, SO_COOKIE, &value, &length) }
        return value
    }

    func send(bytes: Int) {
        let data = [UInt8](repeating: 1, count: bytes)
        #expect(Glibc.send(descriptor.rawValue, data, bytes, 0) == bytes)
    }

    func pendingError() -> CInt { Self.pendingError(of: descriptor.rawValue) }

    static func pendingError(of raw: CInt) -> CInt {
        var value: CInt = 0
        var length = socklen_t(4)
        return getsockopt(raw, SOL_SOCKET, SO_ERROR, &value, &length) == 0 ? value : errno
    }

    private func withAddress(
        port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
    ) throws(SystemError) {
        var ipv4 = sockaddr_in()
        ipv4.sin_family = sa_family_t(AF_INET)
        ipv4.sin_port = port.bigEndian
        ipv4.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var ipv6 = sockaddr_in6()
        ipv6.sin6_family = sa_family_t(AF_INET6)
        ipv6.sin6_port = port.bigEndian
        let host = form == .mapped ? SockDiagTests.loopback4 : SockDiagTests.loopback6
        withUnsafeMutableBytes(of: &ipv6.sin6_addr) { $0.storeBytes(of: host.bigEndian, as: UInt128.self) }
        let form = form
        try SystemError.check("bind or connect") {
            form == .ipv4
                ? withUnsafePointer(to: &ipv4) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
                : withUnsafePointer(to: &ipv6) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                    }
                }
        }
    }
}
