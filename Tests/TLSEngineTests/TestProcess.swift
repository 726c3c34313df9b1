// SPDX-License-Identifier: Apache-2.0

import Foundation
import TLSEngine
import Testing

enum PEM {
    static func certificates(_ chain: [[UInt8]]) -> String {
        var text: [UInt8] = []
        for der in chain { der.withUnsafeBytes { PEMWriter.write("CERTIFICATE", $0, to: &text) } }
        return String(decoding: text, as: UTF8.self)
    }

    static func key(_ svid: X509SVID) -> String {
        var text: [UInt8] = []
        svid.key.withPKCS8 { PEMWriter.write("PRIVATE KEY", $0, to: &text) }
        return String(decoding: text, as: UTF8.self)
    }
}

/// A program that a test talks to by its standard input and output, line by line.
final class TestProcess {
    static let python = ProcessInfo.processInfo.environment["PYTHON"] ?? "/usr/bin/python3"
    static let openssl = "/usr/bin/openssl"

    /// `make test-root` does not take no for an answer.
    static let canRun =
        getenv("MESH_REQUIRE_ROOT") != nil
        || [python, openssl].allSatisfy { FileManager.default.isExecutableFile(atPath: $0) }

    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()

    init(_ program: String, _ arguments: [String]) throws {
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    /// `Peer/tls_peer.py`.
    static func tlsPeer(_ arguments: [String], _ options: [String: Any]) throws -> TestProcess {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "Peer/tls_peer.py")
        let peer = try TestProcess(python, [script.path] + arguments)
        let line = try JSONSerialization.data(withJSONObject: options)
        try peer.write(String(decoding: line, as: UTF8.self) + "\n")
        return peer
    }

    deinit {
        process.terminate()
        process.waitUntilExit()
    }

    func write(_ text: String) throws { try input.fileHandleForWriting.write(contentsOf: Array(text.utf8)) }

    func port() throws -> UInt16 { try #require(UInt16(try line())) }

    func line() throws -> String {
        var line: [UInt8] = []
        while true {
            try TestSocket.wait(output.fileHandleForReading.fileDescriptor, for: POLLIN)
            let data = try output.fileHandleForReading.read(upToCount: 1)
            let byte = try #require(data?.first, "the peer has ended after: \(String(decoding: line, as: UTF8.self))")
            if byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
            line.append(byte)
        }
    }
}

/// Files for programs that take no other form. Removed with their owner.
final class TestFiles {
    private let directory: URL

    init(_ mesh: TestMesh, _ svid: X509SVID) throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("mesh-tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        try write("roots", PEM.certificates([mesh.rootDER]))
        try write("chain", PEM.certificates(svid.chain))
        try write("key", PEM.key(svid))
    }

    deinit { try? FileManager.default.removeItem(at: directory) }

    var roots: String { path("roots") }
    var chain: String { path("chain") }
    var key: String { path("key") }

    private func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

    private func write(_ name: String, _ text: String) throws {
        try text.write(toFile: path(name), atomically: false, encoding: .utf8)
    }
}
