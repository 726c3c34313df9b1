// SPDX-License-Identifier: Apache-2.0

/// The path of a request as the router and the authorizer see it.
///
/// Servers disagree about some paths: `/a%2Fb` is two segments or three, `/a;x/b` has a parameter or not, `//a` is `/a`
/// or not, and dot segments are resolved or looked up. Whoever judged one reading and passed the request to a server
/// with the other could be evaded. So a path that can be read in two ways has both readings, and a request is allowed
/// only if it is under each of them; a path that is doubtful in several ways at once, or that no careful client sends,
/// is refused with 400. Borrowed for the length of a call.
public struct RequestPath {
    /// The one that routes are chosen by: ``RoutePath/normalized(_:into:)``.
    public let normal: UnsafeRawBufferPointer
    /// How a server may read the path instead; `nil` for almost every path, as there is one reading only.
    public let other: UnsafeRawBufferPointer?

    /// A path that was read already, or that is none: `*` of OPTIONS, and nothing of CONNECT.
    public init(normal: UnsafeRawBufferPointer, other: UnsafeRawBufferPointer? = nil) {
        self.normal = normal
        self.other = other
    }

    /// Bytes that ``read(_:into:)`` needs to work in.
    public static func scratchSize(for length: Int) -> Int { 5 * length }

    public enum Reading {
        case path(RequestPath)
        /// To be answered with 400.
        case refused(RequestPathDefect)
    }

    /// Whether nothing in `path` can be read in two ways, which is so of almost every path: then it is its own normal form.
    public static func isPlain(_ path: UnsafeRawBufferPointer) -> Bool { PathDoubts.isPlain(path) }

    /// - Parameters:
    ///   - path: as it was sent, without the query. Begins with `/`; `*` and an empty path pass as they are.
    ///   - scratch: of at least ``scratchSize(for:)`` bytes; the readings may be in it.
    public static func read(_ path: UnsafeRawBufferPointer, into scratch: UnsafeMutableRawBufferPointer) -> Reading {
        if PathDoubts.isPlain(path) { return .path(RequestPath(normal: path)) }
        guard path.first == UInt8(ascii: "/") else {
            let isNone = path.isEmpty || (path.count == 1 && path[0] == UInt8(ascii: "*"))
            return isNone ? .path(RequestPath(normal: path)) : .refused(.notAbsolute)
        }
        var doubts = PathDoubts()
        if let defect = doubts.scan(path) { return .refused(defect) }
        if doubts.isNone { return .path(RequestPath(normal: path)) }

        let length = path.count
        precondition(scratch.count >= scratchSize(for: length), "the scratch space is too short for the path")
        let normal = RoutePath.normalized(path, into: UnsafeMutableRawBufferPointer(rebasing: scratch[..<length]))
        let middle = UnsafeMutableRawBufferPointer(rebasing: scratch[length..<2 * length])
        let unescaped = UnsafeRawBufferPointer(rebasing: middle[..<RoutePath.unescape(path, into: middle)])
        if doubts.hasEscapes, PathDoubts.hasDoubleEscapes(unescaped) { return .refused(.doubleEscape) }
        doubts.hasDotSegments = hasDotSegments(unescaped)
        guard doubts.count <= 1 else { return .refused(.ambiguous) }
        if doubts.count == 0, !doubts.hasBareCharacters { return .path(RequestPath(normal: normal)) }

        let rest = UnsafeMutableRawBufferPointer(rebasing: scratch[(2 * length)...])
        let other = UnsafeRawBufferPointer(rebasing: rest[..<resolve(unescaped, doubts, into: rest)])
        if !doubts.hasDotSegments, hasDotSegments(other) { return .refused(.hiddenDotSegment) }
        return .path(RequestPath(normal: normal, other: other))
    }

    private static func hasDotSegments(_ path: UnsafeRawBufferPointer) -> Bool {
        var begin = 0
        for index in 0...path.count where index == path.count || path[index] == UInt8(ascii: "/") {
            let length = index - begin
            if length == 1, path[begin] == UInt8(ascii: ".") { return true }
            if length == 2, path[begin] == UInt8(ascii: "."), path[begin + 1] == UInt8(ascii: ".") { return true }
            begin = index + 1
        }
        return false
    }

    /// Writes the other reading: what is doubtful is read in the way that the normal form does not.
    ///
    /// - Returns: How many bytes were written, at most three for each of `path`.
    private static func resolve(
        _ path: UnsafeRawBufferPointer, _ doubts: PathDoubts, into output: UnsafeMutableRawBufferPointer
    ) -> Int {
        var count = 0
        var isParameter = false
        var index = 0
        while index < path.count {
            var byte = path[index]
            index += 1
            if byte == UInt8(ascii: "%"), path[index] == UInt8(ascii: "2"), path[index + 1] == UInt8(ascii: "F") {
                byte = UInt8(ascii: "/")
                index += 2
            }
            switch byte {
            case UInt8(ascii: "/"):
                isParameter = false
                // An empty segment is dropped, also one that was nothing but a parameter.
                if count > 0, output[count - 1] == UInt8(ascii: "/") { continue }
            case UInt8(ascii: ";"):
                isParameter = true
            default: break
            }
            if isParameter { continue }
            count = RoutePath.write(byte, to: output, at: count)
        }
        return count
    }
}

extension RoutePath {
    /// Appends a character, escaped if RFC 3986 does not allow it in a path as it is. `%` is taken to begin an escape.
    ///
    /// - Returns: Where the next one goes.
    static func write(_ byte: UInt8, to output: UnsafeMutableRawBufferPointer, at count: Int) -> Int {
        if byte.isPlainInPath || byte == UInt8(ascii: "/") || byte == UInt8(ascii: "%") || byte == UInt8(ascii: ";") {
            output[count] = byte
            return count + 1
        }
        let digit = { (nibble: UInt8) in nibble < 10 ? nibble + 0x30 : nibble + 0x37 }
        output[count] = UInt8(ascii: "%")
        output[count + 1] = digit(byte >> 4)
        output[count + 2] = digit(byte & 0xf)
        return count + 3
    }

    /// The spelling in which a pattern's text is compared with the readings of a ``RequestPath``.
    static func patternText(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        let unescaped = [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, count in
            count = bytes.withUnsafeBytes { unescape($0, into: UnsafeMutableRawBufferPointer(buffer)) }
        }
        return [UInt8](unsafeUninitializedCapacity: 3 * bytes.count) { buffer, count in
            for byte in unescaped { count = write(byte, to: UnsafeMutableRawBufferPointer(buffer), at: count) }
        }
    }
}
