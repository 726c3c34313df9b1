// SPDX-License-Identifier: Apache-2.0

/// Refuses the one use of aliases that costs exponential time inside the YAML library.
///
/// The library hashes mapping keys, to find duplicates, and hashing a key walks everything below it. A key made of
/// aliases of aliases is a "billion laughs" that no limit on the result can stop, because the time is spent before
/// there is a result. So a document with anchors may not have collections or aliases as keys. Kubernetes objects
/// never have such keys. The scan is over-cautious inside strings, never the other way.
enum AliasGuard {
    /// - Returns: the byte offset of a key that may be a collection or an alias, in a document that has an anchor.
    static func suspiciousKey(in text: String.UTF8View) -> Int? {
        var hasAnchor = false
        var candidate: Int?
        var previous = UInt8(ascii: "\n")
        var index = text.startIndex
        var offset = 0
        while index != text.endIndex {
            let byte = text[index]
            let next = text.index(after: index)
            switch byte {
            case UInt8(ascii: "&") where previous.mayPrecedeToken && next != text.endIndex && text[next].isAnchorName:
                hasAnchor = true
            case UInt8(ascii: "?") where previous.mayPrecedeToken:
                candidate = candidate ?? offset
            case UInt8(ascii: "*") where previous.mayPrecedeToken:
                let end = text[next...].firstIndex { !$0.isAnchorName } ?? text.endIndex
                if end != next, text.isColon(after: end) { candidate = candidate ?? offset }
            case UInt8(ascii: "]"), UInt8(ascii: "}"):
                if text.isColon(after: next) { candidate = candidate ?? offset }
            default: break
            }
            if hasAnchor, let candidate { return candidate }
            previous = byte
            index = next
            offset += 1
        }
        return nil
    }
}

extension UInt8 {
    /// True for the bytes after which the scanner may begin a new token.
    fileprivate var mayPrecedeToken: Bool {
        switch self {
        case 0x00...0x20, 0x80...0xFF: true  // blanks, line breaks, and the Unicode ones among them
        case UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: ","),
            UInt8(ascii: ":"), UInt8(ascii: "?"), UInt8(ascii: "-"), UInt8(ascii: "\""), UInt8(ascii: "'"):
            true
        default: false
        }
    }

    fileprivate var isAnchorName: Bool {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

extension String.UTF8View {
    /// True if the next byte that is neither blank nor line break is a colon.
    fileprivate func isColon(after start: Index) -> Bool {
        self[start...].first { $0 > 0x20 } == UInt8(ascii: ":")
    }
}
