// SPDX-License-Identifier: Apache-2.0

/// Whom to trust: all of it, in place of what was said before.
public struct TrustRecord: Hashable, Sendable {
    /// One trust domain.
    public struct Domain: Hashable, Sendable {
        public var name: String
        /// Certificates that chains end at, DER.
        public var roots: [[UInt8]]
        /// Revocation lists of its issuers, DER.
        public var revocations: [[UInt8]]

        public init(name: String, roots: [[UInt8]], revocations: [[UInt8]] = []) {
            self.name = name
            self.roots = roots
            self.revocations = revocations
        }
    }

    /// By the bytes of the name; each once.
    public let domains: [Domain]

    /// - Parameter domains: in any order; the first of a name counts.
    public init(_ domains: [Domain]) {
        var seen: Set<String> = []
        self.domains = domains.filter { seen.insert($0.name).inserted }
            .sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }
}

extension TrustRecord.Domain: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(name, roots, revocations) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(name: try reader.read(), roots: try reader.read(), revocations: try reader.read())
    }
}

extension TrustRecord: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(domains) }
    public init(from reader: inout ByteReader) throws(WireError) {
        let domains: [Domain] = try reader.read()
        guard zip(domains, domains.dropFirst()).allSatisfy({ $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) })
        else { throw reader.failure("the trust domains are out of order") }
        self.init(domains)
        guard self.domains.count == domains.count else { throw reader.failure("a trust domain occurs twice") }
    }
}
