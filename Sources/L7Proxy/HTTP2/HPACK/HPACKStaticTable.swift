// SPDX-License-Identifier: Apache-2.0

/// The fields that every connection knows from its beginning (RFC 7541 appendix A).
///
/// Built once for the process and only read afterwards; a decoder and an encoder keep its addresses.
struct HPACKStaticTable: Sendable {
    struct Entry {
        let name: UnsafeRawBufferPointer
        let value: UnsafeRawBufferPointer
        /// ``FieldName/other`` for pseudo-header fields and names that nobody here asks for.
        let known: FieldName
    }

    /// Indices of the wire: the first that has the name.
    static let authority: UInt8 = 1
    static let method: UInt8 = 2
    static let path: UInt8 = 4
    static let scheme: UInt8 = 6
    static let status: UInt8 = 8
    /// The last pseudo-header field.
    static let lastPseudo: UInt8 = 14
    /// The last field that has a value worth looking for.
    static let lastValued: UInt8 = 16
    static let count = 61

    static let shared = HPACKStaticTable()

    /// Index 1 is at 0.
    nonisolated(unsafe) let entries: UnsafePointer<Entry>
    /// By ``FieldName``: the first index that has the name, or 0.
    private nonisolated(unsafe) let indices: UnsafePointer<UInt8>

    private init() {
        precondition(Self.texts.count == Self.count, "the static table has 61 entries")
        let entries = UnsafeMutablePointer<Entry>.allocate(capacity: Self.count)
        let indices = UnsafeMutablePointer<UInt8>.allocate(capacity: FieldName.allCases.count)
        indices.initialize(repeating: 0, count: FieldName.allCases.count)
        for (position, (name, value)) in Self.texts.enumerated().reversed() {
            let known = FieldNameIndex.shared.recognise(name.utf8Start, name.utf8CodeUnitCount)
            (entries + position).initialize(
                to: Entry(name: ASCII.bytes(of: name), value: ASCII.bytes(of: value), known: known))
            if known != .other { indices[Int(known.rawValue)] = UInt8(position + 1) }
        }
        self.entries = UnsafePointer(entries)
        self.indices = UnsafePointer(indices)
    }

    /// The first index that has the name, or 0.
    @inline(__always)
    func index(of name: FieldName) -> UInt8 { indices[Int(name.rawValue)] }

    private static let texts: [(StaticString, StaticString)] = [
        (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
        (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
        (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
        ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
        ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
        ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
        ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""),
        ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""),
        ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""),
        ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""),
        ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""), ("retry-after", ""),
        ("server", ""), ("set-cookie", ""), ("strict-transport-security", ""), ("transfer-encoding", ""),
        ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", ""),
    ]
}
