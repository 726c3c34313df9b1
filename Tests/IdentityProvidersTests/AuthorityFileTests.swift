// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import LinuxIO
import TLSEngine
import Testing

@testable import IdentityProviders

@Suite final class AuthorityFileTests {
    private let directory = NSTemporaryDirectory() + "mesh-authority-\(UUID().uuidString)"
    private let domain: TrustDomain
    private let start = UnixTime(seconds: 1_780_272_000)

    private var path: String { directory + "/authority.pem" }

    init() throws { domain = try TrustDomain("mesh.test") }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    private func open(_ domain: TrustDomain? = nil) throws -> LocalAuthority {
        try LocalAuthority(domain ?? self.domain, at: path, now: start)
    }

    private func text() throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

    private func write(_ bytes: [UInt8]) throws {
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.truncate(atOffset: 0)
        try file.write(contentsOf: bytes)
    }

    /// A damaged authority is said to be so, and is not replaced by another, which nobody trusts.
    private func refusal(_ bytes: [UInt8]) throws -> String {
        try write(bytes)
        let error = try #require(throws: AuthorityFileError.self) { try self.open() }
        #expect(error.path == path)
        #expect(error.description.contains("Restore the file from a backup"))
        #expect(try text() == bytes)
        return error.reason
    }

    private func blocks(_ text: [UInt8]) -> [[UInt8]] {
        var blocks: [[UInt8]] = []
        for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
            if line.hasPrefix("-----BEGIN") { blocks.append([]) }
            blocks[blocks.count - 1] += Array("\(line)\n".utf8)
        }
        return blocks
    }

    /// Cut anywhere: an error, but at the two places where whole generations end: there it is an authority that may have
    /// lost its intermediate, which is made again.
    @Test func everyCut() throws {
        _ = try open()
        let whole = try text()
        let blocks = blocks(whole)
        #expect(blocks.count == 4)
        let afterRoot = blocks[0].count + blocks[1].count
        for count in stride(from: 0, to: whole.count, by: 37) where count < afterRoot - 1 || count > afterRoot + 28 {
            let reason = try refusal(Array(whole[..<count]))
            #expect(!reason.isEmpty, "\(count)")
        }
    }

    @Test func otherOrders() throws {
        _ = try open()
        let all = blocks(try text())
        #expect(try refusal([]) == "it is empty")
        #expect(try refusal(all[1]).contains("a key has no certificate before it"))
        #expect(try refusal(all[0]).contains("the last certificate has no key after it"))
        #expect(try refusal(all[0] + all[2] + all[3]).contains("a certificate has no key after it"))
        #expect(try refusal(all[2] + all[3]).contains("an intermediate has no root before it"))
        #expect(try refusal(all[0] + all[3]).contains("the private key is not the certificate's"))
        #expect(try refusal(Array("hello".utf8)) == "it is empty")
        try write(all.flatMap { $0 })
        #expect(throws: Never.self) { try self.open() }
    }

    @Test func anotherTrustDomain() throws {
        _ = try open()
        let other = try TrustDomain("other.test")
        let error = try #require(throws: AuthorityFileError.self) { try self.open(other) }
        #expect(error.reason == "its root is for spiffe://mesh.test, not for spiffe://other.test")
    }

    @Test func othersMayNotRead() throws {
        _ = try open()
        for mode in [0o640, 0o604, 0o620, 0o660] {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
            let error = try #require(throws: AuthorityFileError.self) { try self.open() }
            #expect(error.reason.contains("others may read or write it"))
        }
        try FileManager.default.setAttributes([.posixPermissions: 0o400], ofItemAtPath: path)
        #expect(throws: Never.self) { try self.open() }
    }

    @Test func noLinkAndNoOtherThing() throws {
        _ = try open()
        try FileManager.default.moveItem(atPath: path, toPath: path + ".real")
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: path + ".real")
        #expect(throws: AuthorityFileError.self) { try self.open() }
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let error = try #require(throws: AuthorityFileError.self) { try self.open() }
        #expect(error.reason.contains("not a regular file"))
    }

    /// What a crash has left beside the file is in nobody's way.
    @Test func leftovers() throws {
        let roots = try open().roots
        try Data("half".utf8).write(to: URL(fileURLWithPath: path + ".tmp"))
        let authority = try open()
        #expect(authority.roots == roots)
        try authority.rotateRoot(at: start)
        _ = authority.advance(to: start)
        #expect(authority.roots.count == 2)
        #expect(!FileManager.default.fileExists(atPath: path + ".tmp"))
        #expect(try open().roots == authority.roots)
    }

    /// What cannot be kept is not used: the bundle stays as it is, and it is said.
    @Test func aFullDisk() throws {
        let authority = try open()
        _ = authority.advance(to: start)
        let roots = authority.roots
        try FileManager.default.removeItem(atPath: directory)
        try Data().write(to: URL(fileURLWithPath: directory))
        #expect(throws: TLSError.self) { try authority.rotateRoot(at: start) }
        let updates = authority.advance(to: start)
        guard case .trouble(let reason?) = updates.first else {
            Issue.record("no trouble: \(updates)")
            return
        }
        #expect(reason.contains(path) && reason.contains("stays in use"))
        #expect(authority.roots == roots)
        #expect(authority.nextDue == start + 60)
        // Said once.
        #expect(authority.advance(to: start + 60).isEmpty)
        try FileManager.default.removeItem(atPath: directory)
        let later = authority.advance(to: start + 120)
        #expect(authority.roots.count == 2)
        guard case .trust(let trust) = later.first, case .trouble(nil) = later.last else {
            Issue.record("not told that it is over: \(later)")
            return
        }
        #expect(trust.roots.values.first == authority.roots)
    }
}
