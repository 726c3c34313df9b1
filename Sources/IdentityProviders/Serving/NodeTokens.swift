// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
public import Identity
import LinuxIO
import TLSEngine

/// The tokens by which nodes join: one file each in a directory, named by the token's SHA-256, which is all that is kept
/// of it.
///
/// A token is for one node, for a time, and for the first key that comes with it: a node whose answer was lost asks again
/// with the same key, within ten minutes, and gets it; anybody else is refused.
public struct NodeTokens: Sendable {
    /// Bytes of a token, before they are written in hexadecimal.
    static let bytes = 32
    /// Most that are kept at once, used and expired ones included.
    public static let maximumTokens = 1024
    /// How long a token is remembered after its end, to tell what has become of it; seconds.
    static let memory: Int64 = 7 * 86_400
    /// How long a token may be shown again with the key that it was used for, in seconds.
    static let repetition: Int64 = 600
    /// Longest life, in seconds.
    public static let longestLife: Int64 = 7 * 86_400

    struct Record: Codable, Hashable {
        var node: String
        /// Seconds since 1970.
        var expires: Int64
        /// The key that it was used for (``CertificateRequest/keyFingerprint``), and when.
        var key: String?
        var used: Int64?
    }

    let directory: String

    public init(_ directory: String) { self.directory = directory }

    /// Makes a token, and forgets those that are long over.
    ///
    /// - Throws: ``JoinError``.
    public func make(for node: String, lasting seconds: Int64, at now: UnixTime) throws(JoinError) -> String {
        let count = try prune(at: now)
        guard count < Self.maximumTokens else {
            throw JoinError(
                "\(directory): there are \(count) tokens; that is the limit. Those that are over go after 7 days")
        }
        let token: String
        do throws(TLSError) { token = SecureDigest.hexadecimal(try SecureDigest.randomBytes(Self.bytes)) } catch {
            throw JoinError("\(error)")
        }
        try write(Record(node: node, expires: (now + seconds).seconds), SecureDigest.sha256(Array(token.utf8)))
        return token
    }

    /// What becomes of a token that a node shows.
    enum Redemption: Hashable {
        /// It is that node's, from now on for this key only.
        case good
        case refused(AuthorityRefusal, reason: String)
    }

    /// Uses a token up; that is on the disk when this returns.
    ///
    /// - Parameter key: of the certificate that is wanted.
    /// - Throws: ``JoinError`` if the disk fails: the token is as it was.
    func redeem(_ token: String, for node: String, key: String, at now: UnixTime) throws(JoinError) -> Redemption {
        let unknown = Redemption.refused(
            .unknownToken, reason: "the token is not known here: meshctl ca token makes one")
        guard token.utf8.count == 2 * Self.bytes else { return unknown }
        let digest = SecureDigest.sha256(Array(token.utf8))
        guard var record = try read(digest) else { return unknown }
        let remedy = "meshctl ca token \(record.node) makes another"
        guard record.node == node else {
            return .refused(.otherNodesToken, reason: "the token is another node's, not \(node)'s")
        }
        if let used = record.used, record.key != key {
            return .refused(
                .usedToken, reason: "the token was used at \(UnixTime(seconds: used)), with another key: \(remedy)")
        }
        if let used = record.used, now.seconds - used > Self.repetition {
            return .refused(.usedToken, reason: "the token was used at \(UnixTime(seconds: used)): \(remedy)")
        }
        guard now.seconds < record.expires else {
            return .refused(
                .expiredToken, reason: "the token expired at \(UnixTime(seconds: record.expires)): \(remedy)")
        }
        guard record.used == nil else { return .good }
        (record.key, record.used) = (key, now.seconds)
        try write(record, digest)
        return .good
    }

    // MARK: - Files

    private func read(_ digest: String) throws(JoinError) -> Record? {
        var record: Record?
        do throws(SystemError) {
            let isThere: Void? = try SecretFile.withBytes(of: "\(directory)/\(digest)") {
                record = AuthorityJSON.decode(Record.self, Array($0))
            }
            guard isThere != nil else { return nil }
        } catch { throw JoinError("\(error)") }
        guard let record else { throw JoinError("\(directory)/\(digest): it cannot be read; remove it") }
        return record
    }

    private func write(_ record: Record, _ digest: String) throws(JoinError) {
        let bytes = AuthorityJSON.encode(record)
        var failure: SystemError?
        bytes.withUnsafeBytes {
            do throws(SystemError) { try SecretFile.replace("\(directory)/\(digest)", $0) } catch { failure = error }
        }
        if let failure { throw JoinError("\(failure)") }
    }

    /// - Returns: How many are left.
    private func prune(at now: UnixTime) throws(JoinError) -> Int {
        guard let listing = opendir(directory) else {
            guard errno == ENOENT else { throw JoinError("\(SystemError("opendir", directory, errnoCode: errno))") }
            return 0
        }
        defer { closedir(listing) }
        var names: [String] = []
        while let entry = readdir(listing) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.utf8.count == 2 * Self.bytes { names.append(name) }
        }
        var left = 0
        for name in names {
            if let record = try? read(name), record.expires + Self.memory < now.seconds {
                _ = unlink("\(directory)/\(name)")
            } else {
                left += 1
            }
        }
        return left
    }
}
