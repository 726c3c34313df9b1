// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import TLSEngine
import Testing

/// Our ends against Python's ssl module and OpenSSL's own programs, over sockets that do not block.
///
/// One after another: each has a process.
@Suite(.serialized, .enabled(if: TestProcess.canRun, "needs python3 and openssl: scripts/bootstrap.sh --test"))
struct PeerTests {
    private let mesh: TestMesh

    init() throws {
        // Their clocks cannot be set.
        mesh = try TestMesh(from: .now)
    }

    private func svid(_ account: String) throws -> X509SVID {
        try mesh.svid(account, from: .now, until: .now + 3600)
    }

    private func options(
        _ svid: X509SVID?, alpn: [String] = ["h2"], maximum: String = "1.3"
    ) throws -> [String: Any] {
        var options: [String: Any] = ["roots": PEM.certificates([mesh.rootDER]), "alpn": alpn, "maximum": maximum]
        if let svid {
            options["certificate"] = PEM.certificates(svid.chain)
            options["key"] = PEM.key(svid)
        }
        return options
    }

    private func server(_ socket: consuming TestSocket) throws -> SocketEnd {
        SocketEnd(
            try TLSSession(
                mesh.context(.server, svid("db")), expecting: .memberOf(mesh.domain)), socket)
    }

    private func client(_ socket: consuming TestSocket) throws -> SocketEnd {
        SocketEnd(try TLSSession(mesh.context(.client, svid("db")), expecting: .anyOf([mesh.id("web")])), socket)
    }

    private static let words = (0..<30_000).map { UInt8(ascii: "a") + UInt8($0 % 26) }

    @Test func ourServerAgainstPython() throws {
        let listener = try TestListener()
        let python = try TestProcess.tlsPeer(["client", "\(listener.port)"], options(svid("web")))
        let end = try server(listener.accept())
        try end.handshake()
        #expect(end.session.peer == (try mesh.id("web")))
        try end.send(Self.words)
        #expect(try end.receive(Self.words.count) == Self.words.map { $0 - 32 })
        try end.close()
        #expect(try python.line() == "ok TLSv1.3 TLS_AES_128_GCM_SHA256 h2")
    }

    @Test func ourClientAgainstPython() throws {
        let python = try TestProcess.tlsPeer(["server"], options(svid("web")))
        let end = try client(TestSocket(connectedTo: python.port()))
        try end.handshake()
        #expect(end.session.peer == (try mesh.id("web")))
        try end.send(Self.words)
        #expect(try end.receive(Self.words.count) == Self.words.map { $0 - 32 })
        try end.close()
        let line = try python.line()
        #expect(line.hasPrefix("ok TLSv1.3 TLS_AES_") && line.hasSuffix(" h2"), "\(line)")
    }

    /// What a client must not leave out, and what each end says.
    @Test(arguments: [
        ("no certificate", "peer did not return a certificate", "certificate required"),
        ("TLS 1.2", "unsupported protocol", "protocol version"),
        ("another protocol", "no application protocol", "no application protocol"),
        ("no protocol", "no ALPN", "ok tlsv1.3 tls_aes_128_gcm_sha256 none"),
    ])
    func clientsThatAreRefused(_ what: String, _ reason: String, _ outcome: String) throws {
        let listener = try TestListener()
        let options = try options(
            what == "no certificate" ? nil : svid("web"),
            alpn: what == "no protocol" ? [] : what == "another protocol" ? ["http/1.1"] : ["h2"],
            maximum: what == "TLS 1.2" ? "1.2" : "1.3")
        let python = try TestProcess.tlsPeer(["client", "\(listener.port)"], options)
        let end = try server(listener.accept())
        let error = try #require(throws: TLSError.self) { try end.handshake() }
        #expect(error.reason.contains(reason), "\(error)")
        end.hangUp()
        let line = try python.line()
        // Without ALPN the server knows only when the handshake is over: the client sees the end, and not a byte.
        #expect(line.lowercased().contains(outcome), "\(line)")
    }

    @Test func opensslClient() throws {
        let listener = try TestListener()
        let files = try TestFiles(mesh, svid("web"))
        let process = try TestProcess(
            TestProcess.openssl,
            [
                "s_client", "-connect", "127.0.0.1:\(listener.port)", "-cert", files.chain, "-cert_chain", files.chain,
                "-key", files.key, "-CAfile", files.roots, "-alpn", "h2", "-quiet", "-verify_return_error",
            ])
        let end = try server(listener.accept())
        try end.handshake()
        #expect(end.session.peer == (try mesh.id("web")))
        try process.write("hello\n")
        #expect(try end.receive(6) == Array("hello\n".utf8))
        try end.send(Array("to you\n".utf8))
        #expect(try process.line() == "to you")
    }

    @Test func opensslServer() throws {
        let files = try TestFiles(mesh, svid("web"))
        let process = try TestProcess(
            TestProcess.openssl,
            [
                "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-cert", files.chain, "-cert_chain", files.chain,
                "-key", files.key, "-CAfile", files.roots, "-alpn", "h2", "-Verify", "3", "-verify_return_error",
            ])
        var line = try process.line()
        while !line.hasPrefix("ACCEPT") { line = try process.line() }
        let port = try #require(line.split(separator: ":").last.flatMap { UInt16($0) })
        let end = try client(TestSocket(connectedTo: port))
        try end.handshake()
        try process.write("hello\n")
        #expect(try end.receive(6) == Array("hello\n".utf8))
        // Its operator says "K": a new key, and the same of the peer. What came with it would be lost.
        try process.write("K\n")
        try end.waitForInput()
        try process.write("again\n")
        #expect(try end.receive(6) == Array("again\n".utf8))
        try end.send(Array("to you\n".utf8))
        while line != "to you" { line = try process.line() }
    }
}
