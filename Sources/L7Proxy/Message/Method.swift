// SPDX-License-Identifier: Apache-2.0

/// A request method that the proxy treats by name; any other token is ``other`` and is forwarded as it is.
public enum Method: UInt8, Sendable, BitwiseCopyable {
    case other, get, head, post, put, delete, connect, options, trace, patch

    /// Whether a request may be repeated without the client's asking for it (RFC 9110 section 9.2.2). Of ``other``
    /// nothing is known, so it may not.
    public var isIdempotent: Bool {
        switch self {
        case .get, .head, .put, .delete, .options, .trace: true
        case .post, .patch, .connect, .other: false
        }
    }

    /// Methods are case-sensitive (RFC 9110 section 9.1): `get` is ``other``.
    @inline(__always)
    init(_ text: UnsafeRawPointer, _ length: Int) {
        switch length {
        case 3:
            let word = Self.word(text, 2) << 8 | UInt32((text + 2).load(as: UInt8.self))
            self = word == 0x47_45_54 ? .get : word == 0x50_55_54 ? .put : .other
        case 4:
            let word = Self.word(text, 4)
            self = word == 0x50_4f_53_54 ? .post : word == 0x48_45_41_44 ? .head : .other
        case 5:
            let tail = (text + 4).load(as: UInt8.self)
            let word = Self.word(text, 4)
            self =
                word == 0x50_41_54_43 && tail == 0x48
                ? .patch : word == 0x54_52_41_43 && tail == 0x45 ? .trace : .other
        case 6:
            self = Self.word(text, 4) == 0x44_45_4c_45 && Self.word(text + 4, 2) == 0x54_45 ? .delete : .other
        case 7:
            let head = Self.word(text, 4)
            let tail = Self.word(text + 3, 4)
            self =
                head == 0x4f_50_54_49 && tail == 0x49_4f_4e_53
                ? .options : head == 0x43_4f_4e_4e && tail == 0x4e_45_43_54 ? .connect : .other
        default:
            self = .other
        }
    }

    /// The first two or four bytes at `text`, the first one most significant.
    @inline(__always)
    private static func word(_ text: UnsafeRawPointer, _ length: Int) -> UInt32 {
        length == 4
            ? UInt32(bigEndian: text.loadUnaligned(as: UInt32.self))
            : UInt32(UInt16(bigEndian: text.loadUnaligned(as: UInt16.self)))
    }
}
