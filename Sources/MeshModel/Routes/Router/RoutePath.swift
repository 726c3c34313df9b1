// SPDX-License-Identifier: Apache-2.0

/// The form in which paths are compared.
///
/// Two paths that RFC 3986 section 6.2.2 calls equivalent must meet the same rule, or a rule could be evaded by another
/// spelling: `%61` is `a`, `%c3` is `%C3`, and `/a/./b/../c` is `/a/c`. So are the delimiters that a segment may hold as
/// they are (RFC 3986 section 3.3): `%40` is `@`; but not `;`, after which some servers read parameters. An escaped `/`
/// stays escaped: it is a character of a segment, not a separator. Empty segments stay: `//a` is not `/a`. What is
/// forwarded is not changed by this, except that a rewrite works on the normal form.
///
/// A `%` without two hexadecimal digits stays as it is, and may become an escape together with what is unescaped after it;
/// readers disagree about such paths, so a proxy refuses them: ``hasValidEscapes(_:)``.
public enum RoutePath {
    /// Whether every `%` begins an escape, as RFC 3986 section 2.1 demands.
    public static func hasValidEscapes(_ path: UnsafeRawBufferPointer) -> Bool {
        for index in path.indices where path[index] == UInt8(ascii: "%") && escaped(path, index) == nil { return false }
        return true
    }

    /// Whether `path` already has the normal form; almost every request's path has.
    public static func isNormal(_ path: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index < path.count {
            let byte = path[index]
            if byte == UInt8(ascii: "%") {
                guard let escaped = escaped(path, index) else {
                    index += 1
                    continue
                }
                if escaped.isPlainInPath || path[index + 1].isLowerCaseLetter || path[index + 2].isLowerCaseLetter {
                    return false
                }
                index += 3
                continue
            }
            if byte == UInt8(ascii: "."), index > 0, path[index - 1] == UInt8(ascii: "/") {
                // A segment of one or two dots.
                let end = path[index...].firstIndex(of: UInt8(ascii: "/")) ?? path.endIndex
                if end - index == 1 || (end - index == 2 && path[index + 1] == UInt8(ascii: ".")) { return false }
            }
            index += 1
        }
        return true
    }

    /// The normal form of `path`, which is `path` itself if it has that form.
    ///
    /// - Parameter scratch: at least as long as `path`; the result may be in it.
    public static func normalized(
        _ path: UnsafeRawBufferPointer, into scratch: UnsafeMutableRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        if isNormal(path) { return path }
        precondition(scratch.count >= path.count, "the scratch space is shorter than the path")
        let unescaped = unescape(path, into: scratch)
        let text = UnsafeMutableRawBufferPointer(rebasing: scratch[..<unescaped])
        return UnsafeRawBufferPointer(rebasing: text[..<removeDotSegments(text)])
    }

    /// The normal form of a path of a route.
    static func normalized(_ path: String) -> [UInt8] {
        let bytes = Array(path.utf8)
        return [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, count in
            bytes.withUnsafeBytes { bytes in
                let result = normalized(bytes, into: UnsafeMutableRawBufferPointer(buffer))
                count = result.count
                // Already there, unless the path was normal.
                if result.baseAddress != UnsafeRawPointer(buffer.baseAddress) {
                    UnsafeMutableRawBufferPointer(buffer).copyMemory(from: result)
                }
            }
        }
    }

    static func escaped(_ path: UnsafeRawBufferPointer, _ index: Int) -> UInt8? {
        guard index + 2 < path.count, let high = path[index + 1].hexDigit, let low = path[index + 2].hexDigit else {
            return nil
        }
        return high << 4 | low
    }

    /// - Returns: How many bytes were written.
    static func unescape(_ path: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int {
        var count = 0
        var index = 0
        while index < path.count {
            if path[index] == UInt8(ascii: "%"), let escaped = escaped(path, index) {
                if escaped.isPlainInPath {
                    output[count] = escaped
                    count += 1
                } else {
                    output[count] = UInt8(ascii: "%")
                    output[count + 1] = path[index + 1].upperCased
                    output[count + 2] = path[index + 2].upperCased
                    count += 3
                }
                index += 3
            } else {
                output[count] = path[index]
                count += 1
                index += 1
            }
        }
        return count
    }

    /// RFC 3986 section 5.2.4, in place. A path that does not begin with `/` (`*`) is left alone.
    ///
    /// - Returns: How many bytes are left.
    private static func removeDotSegments(_ path: UnsafeMutableRawBufferPointer) -> Int {
        guard path.first == UInt8(ascii: "/") else { return path.count }
        var count = 0
        var index = 0
        // Each turn takes one `/` and the segment after it.
        while index < path.count {
            let begin = index + 1
            let end = path[begin...].firstIndex(of: UInt8(ascii: "/")) ?? path.count
            let isDot = end - begin == 1 && path[begin] == UInt8(ascii: ".")
            let isDotDot =
                end - begin == 2 && path[begin] == UInt8(ascii: ".") && path[begin + 1] == UInt8(ascii: ".")
            if isDotDot {
                count = path[..<count].lastIndex(of: UInt8(ascii: "/")) ?? 0
            }
            if isDot || isDotDot {
                if end == path.count {
                    path[count] = UInt8(ascii: "/")
                    count += 1
                }
            } else {
                // Never ahead of what is read: every byte written was read before.
                for position in index..<end {
                    path[count] = path[position]
                    count += 1
                }
            }
            index = end
        }
        return count
    }
}

extension UInt8 {
    /// `pchar` of RFC 3986 section 3.3 without `;`: characters of a path whose escapes mean the same.
    var isPlainInPath: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: true
        // ! $ & ' ( ) * + , : = @
        case 0x21, 0x24, 0x26...0x2C, 0x3A, 0x3D, 0x40: true
        default: false
        }
    }

    fileprivate var isLowerCaseLetter: Bool { (0x61...0x7A).contains(self) }

    var upperCased: UInt8 { isLowerCaseLetter ? self & ~0x20 : self }
}
