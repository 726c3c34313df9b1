// SPDX-License-Identifier: Apache-2.0

/// Reads a request target into the head (RFC 9112 section 3.2).
///
/// What is accepted goes on unchanged, so what a next hop might read differently is refused here: anything outside
/// visible ASCII, a fragment, `"`, `<` and `>`; in the path also `\`, which some take for `/`, and `%` without two
/// hexadecimal digits. Characters that RFC 3986 does not allow but that browsers and libraries send unescaped
/// (``[ ] { } | ^ ` ``, and in the query `\` and a lone `%`) are let through.
enum RequestTarget {
    /// - Parameters:
    ///   - start, end: Where the target is, not empty.
    ///   - head: Its method is set; target, form, path, query, authority and options are set here.
    /// - Returns: What is wrong with the target, or `nil`.
    @inline(__always)
    static func parse(
        _ base: UnsafeRawPointer, start: Int, end: Int, into head: inout RequestHead
    ) -> MalformedMessage? {
        head.target = ByteRange(start, end)
        if (base + start).load(as: UInt8.self) == ASCII.slash, head.method != .connect {
            head.form = .origin
            return parsePath(base, start, end, &head)
        }
        return parseOther(base, start, end, &head)
    }

    @inline(__always)
    private static func parsePath(
        _ base: UnsafeRawPointer, _ start: Int, _ end: Int, _ head: inout RequestHead
    ) -> MalformedMessage? {
        var queryStart = -1
        var offset = start
        while true {
            offset = ByteScanner.firstNotable(base, from: offset, to: end)
            guard offset < end else { break }
            let inQuery = queryStart >= 0
            switch (base + offset).load(as: UInt8.self) {
            case ASCII.questionMark:
                if !inQuery { queryStart = offset &+ 1 }
            case ASCII.percent:
                let isEscape =
                    end &- offset > 2 && ASCII.hexValue((base + (offset &+ 1)).load(as: UInt8.self)) != nil
                    && ASCII.hexValue((base + (offset &+ 2)).load(as: UInt8.self)) != nil
                guard inQuery || isEscape else { return .invalidTarget }
            case ASCII.backslash:
                guard inQuery else { return .invalidTarget }
            default:
                return .invalidTarget
            }
            offset &+= 1
        }
        if queryStart < 0 {
            head.path = ByteRange(start, end)
        } else {
            head.path = ByteRange(start, queryStart &- 1)
            head.query = ByteRange(queryStart, end)
            head.options.insert(.hasQuery)
        }
        return nil
    }

    @inline(never)
    private static func parseOther(
        _ base: UnsafeRawPointer, _ start: Int, _ end: Int, _ head: inout RequestHead
    ) -> MalformedMessage? {
        let text = ByteRange(start, end).bytes(in: base)
        if head.method == .connect {
            guard Authority.hasHostAndPort(text) else { return .targetFormNotAllowed }
            head.form = .authority
            head.authority = ByteRange(start, end)
            return nil
        }
        if text.count == 1, text[0] == ASCII.asterisk {
            guard head.method == .options else { return .targetFormNotAllowed }
            head.form = .asterisk
            head.path = ByteRange(start, end)
            return nil
        }
        return parseAbsolute(base, start, end, &head)
    }

    /// `http://authority[/path][?query]`, or the same with `https`; in any case (RFC 3986 section 3.1).
    private static func parseAbsolute(
        _ base: UnsafeRawPointer, _ start: Int, _ end: Int, _ head: inout RequestHead
    ) -> MalformedMessage? {
        let text = ByteRange(start, end).bytes(in: base)
        let schemeEnd: Int
        if text.count > 7, ASCII.equal(UnsafeRawBufferPointer(rebasing: text[0..<7]), "http://") {
            schemeEnd = 7
        } else if text.count > 8, ASCII.equal(UnsafeRawBufferPointer(rebasing: text[0..<8]), "https://") {
            schemeEnd = 8
            head.options.insert(.httpsScheme)
        } else {
            return .invalidTarget
        }
        var authorityEnd = schemeEnd
        while authorityEnd < text.count, text[authorityEnd] != ASCII.slash, text[authorityEnd] != ASCII.questionMark {
            authorityEnd += 1
        }
        // RFC 9110 section 4.2.1: an empty host is invalid.
        guard Authority.parts(UnsafeRawBufferPointer(rebasing: text[schemeEnd..<authorityEnd])) != nil else {
            return .invalidTarget
        }
        head.form = .absolute
        head.authority = ByteRange(start + schemeEnd, start + authorityEnd)
        if authorityEnd == text.count {
            head.path = ByteRange(end, end)
            return nil
        }
        return parsePath(base, start + authorityEnd, end, &head)
    }
}
