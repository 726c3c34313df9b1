// SPDX-License-Identifier: Apache-2.0

/// Certificates, keys and trust on their way between an agent and its proxy, in a file in memory that only they have.
///
/// The file is this value, then the keys one after another, in the order of ``identities``: so the keys never lie in an
/// array, which nobody wipes, nor in a value that has a text.
public struct IdentityTransfer: Hashable, Sendable {
    /// An identity's certificate, the first or a newer one.
    public struct Identity: Hashable, Sendable {
        /// A SPIFFE ID.
        public var id: String
        /// DER, leaf first, without the root.
        public var chain: [[UInt8]]
        /// Bytes of its key, PKCS #8.
        public var keyBytes: UInt32

        public init(id: String, chain: [[UInt8]], keyBytes: UInt32) {
            self.id = id
            self.chain = chain
            self.keyBytes = keyBytes
        }
    }

    /// `nil`: as before.
    public var trust: TrustRecord?
    /// Identities that are not to be used any more.
    public var removed: [String]
    public var identities: [Identity]

    public init(trust: TrustRecord? = nil, removed: [String] = [], identities: [Identity] = []) {
        self.trust = trust
        self.removed = removed
        self.identities = identities
    }

    public var isEmpty: Bool { trust == nil && removed.isEmpty && identities.isEmpty }

    /// `SMID`, the first bytes of a file.
    private static let magic: UInt32 = 0x4449_4d53
    /// Longest key, in bytes: RSA of 16 384 bits has about 9500.
    public static let maximumKeyBytes = 16384

    /// Reads a file.
    ///
    /// - Parameter bytes: all of it; the keys stay there.
    /// - Returns: The value, and where each key is in `bytes`.
    /// - Throws: ``WireError``; its text never quotes a key.
    public static func read(
        _ bytes: UnsafeRawBufferPointer
    ) throws(WireError) -> (transfer: IdentityTransfer, keys: [Range<Int>]) {
        var reader = ByteReader(bytes)
        let transfer: IdentityTransfer = try reader.read()
        var keys: [Range<Int>] = []
        for identity in transfer.identities {
            let start = reader.offset
            _ = try reader.take(Int(identity.keyBytes))
            keys.append(start..<reader.offset)
        }
        try reader.requireEnd()
        return (transfer, keys)
    }
}

extension IdentityTransfer.Identity: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(id, chain, keyBytes) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(id: try reader.read(), chain: try reader.read(), keyBytes: try reader.read())
        guard (1...IdentityTransfer.maximumKeyBytes).contains(Int(keyBytes)) else {
            throw reader.failure("a key of \(keyBytes) bytes")
        }
    }
}

extension IdentityTransfer: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(Self.magic, trust, removed, identities) }
    public init(from reader: inout ByteReader) throws(WireError) {
        guard try reader.read(UInt32.self) == Self.magic else { throw reader.failure("not identities") }
        self.init(trust: try reader.read(), removed: try reader.read(), identities: try reader.read())
        let names = removed + identities.map(\.id)
        guard Set(names).count == names.count else { throw reader.failure("an identity occurs twice") }
    }
}
