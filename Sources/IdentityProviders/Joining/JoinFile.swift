// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
public import Identity
public import LinuxIO
import TLSEngine

/// Why a node cannot use its join file, or what it has of its authority, and what to do.
public struct JoinError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// What `meshctl ca token` gives a node: where its authority is, how to know it, and the token that it joins by.
///
/// A secret until the token is used or has expired; afterwards it says where the authority is. JSON, mode 0600.
public struct JoinFile: Hashable, Sendable {
    /// Address and port.
    public var authority: String
    public var node: String
    public var trustDomain: TrustDomain
    public var token: String
    public var expires: UnixTime
    /// DER. The authority is who has a certificate below one of them.
    public var roots: [[UInt8]]

    public init(
        authority: String, node: String, trustDomain: TrustDomain, token: String, expires: UnixTime,
        roots: [[UInt8]]
    ) {
        self.authority = authority
        self.node = node
        self.trustDomain = trustDomain
        self.token = token
        self.expires = expires
        self.roots = roots
    }

    private struct Fields: Codable {
        var version: Int
        var authority: String
        var node: String
        var trustDomain: String
        var token: String
        /// Seconds since 1970.
        var expires: Int64
        var roots: [Data]
    }

    private static let version = 1

    /// - Throws: ``JoinError``, also if others may read the file.
    public static func read(_ path: String) throws(JoinError) -> JoinFile {
        var fields: Fields?
        let isThere: Void?
        do throws(SystemError) {
            isThere = try SecretFile.withBytes(of: path) { fields = AuthorityJSON.decode(Fields.self, Array($0)) }
        } catch { throw JoinError("\(error)") }
        guard isThere != nil else {
            throw JoinError("\(path): there is no such file; meshctl ca token, on the authority's machine, makes one")
        }
        guard let fields else {
            throw JoinError("\(path): it is no join file; meshctl ca token, on the authority's machine, makes one")
        }
        guard fields.version == version else {
            throw JoinError("\(path): it is of version \(fields.version), known here is \(version)")
        }
        do throws(SPIFFEIDError) {
            return JoinFile(
                authority: fields.authority, node: fields.node,
                trustDomain: try TrustDomain(fields.trustDomain), token: fields.token,
                expires: UnixTime(seconds: fields.expires), roots: fields.roots.map { [UInt8]($0) })
        } catch {
            throw JoinError("\(path): its trust domain is none: \(error)")
        }
    }

    /// Makes or replaces the file.
    public func write(_ path: String) throws(SystemError) {
        let fields = Fields(
            version: Self.version, authority: authority, node: node, trustDomain: trustDomain.name, token: token,
            expires: expires.seconds, roots: roots.map { Data($0) })
        var bytes = AuthorityJSON.encode(fields) + [UInt8(ascii: "\n")]
        defer { bytes.withUnsafeMutableBytes { SecretFile.wipe($0) } }
        var failure: SystemError?
        bytes.withUnsafeBytes { do throws(SystemError) { try SecretFile.replace(path, $0) } catch { failure = error } }
        if let failure { throw failure }
    }
}
