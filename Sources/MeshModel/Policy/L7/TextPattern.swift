// SPDX-License-Identifier: Apache-2.0

/// How a rule of a ``RequestAuthorizer`` names a string.
///
/// https://istio.io/latest/docs/reference/config/security/authorization-policy/#Rule: exact, prefix `a*`, suffix `*a`,
/// presence `*`; for paths also templates.
struct TextPattern: BitwiseCopyable {
    enum Kind: UInt8, BitwiseCopyable {
        case exact, prefix, suffix
        /// Anything that is there. An empty header field is (Envoy's `present_match`).
        case presence
        /// Literals with operators between them, which are the bytes ``oneSegment`` and ``anyRest`` of the text.
        case template
    }

    let kind: Kind
    /// ASCII letters of either case are equal, as hosts are compared. The text is in lower case.
    var ignoresCase = false
    let text: RouterEntry.Text

    /// `{*}`: one segment, not empty. No byte of UTF-8.
    static let oneSegment: UInt8 = 0xfe
    /// `{**}`: anything, also nothing. At most one, after which no other operator comes.
    static let anyRest: UInt8 = 0xff

    @inline(__always)
    func matches(_ bytes: UnsafeRawBufferPointer, _ texts: UnsafeRawBufferPointer) -> Bool {
        let length = Int(text.length)
        switch kind {
        case .presence: return true
        case .template:
            return Self.template(
                UnsafeRawBufferPointer(rebasing: texts[Int(text.offset)..<Int(text.offset) + length]), bytes)
        case .exact: return bytes.count == length && isEqual(bytes, 0, texts)
        case .prefix: return bytes.count >= length && isEqual(bytes, 0, texts)
        case .suffix: return bytes.count >= length && isEqual(bytes, bytes.count - length, texts)
        }
    }

    @inline(__always)
    private func isEqual(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ texts: UnsafeRawBufferPointer) -> Bool {
        let (offset, length) = (Int(text.offset), Int(text.length))
        let own = UnsafeRawBufferPointer(rebasing: texts[offset..<offset + length])
        let part = UnsafeRawBufferPointer(rebasing: bytes[start..<start + length])
        return ignoresCase ? part.equalsIgnoringCase(own) : part.equals(own)
    }

    private static func template(_ pattern: UnsafeRawBufferPointer, _ path: UnsafeRawBufferPointer) -> Bool {
        var position = 0
        for index in 0..<pattern.count {
            switch pattern[index] {
            case oneSegment:
                let begin = position
                while position < path.count, path[position] != UInt8(ascii: "/") { position += 1 }
                if position == begin { return false }
            case anyRest:
                let tail = pattern.count - index - 1
                guard path.count - position >= tail else { return false }
                for back in 0..<tail where pattern[index + 1 + back] != path[path.count - tail + back] { return false }
                return true
            case let byte:
                guard position < path.count, path[position] == byte else { return false }
                position += 1
            }
        }
        return position == path.count
    }
}

extension AuthorizationPolicy {
    /// A path with `{*}` (one segment) or `{**}` (the rest, or what is before a last literal).
    ///
    /// Istio takes a path for a template if it holds one of the two, and then allows no other brace or `*`:
    /// https://github.com/istio/istio/blob/1.27.0/pkg/config/security/security.go (CheckValidPathTemplate).
    public struct PathTemplate {
        enum Part: Equatable {
            case literal(String)
            case oneSegment
            case anyRest
        }

        let parts: [Part]

        public static func isTemplate(_ path: String) -> Bool { path.contains("{*}") || path.contains("{**}") }

        /// - Returns: `nil` if an operator is not a whole segment, `{**}` is not the last one, or there is another `{`,
        ///   `}` or `*`.
        public init?(_ path: String) {
            guard path.hasPrefix("/") else { return nil }
            var parts: [Part] = []
            var literal = ""
            let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
            for segment in segments {
                literal += "/"
                let isOperator = segment == "{*}" || segment == "{**}"
                if !isOperator {
                    if segment.contains(where: { "{}*".contains($0) }) { return nil }
                    literal += segment
                    continue
                }
                if parts.contains(.anyRest) { return nil }
                parts += [.literal(literal), segment == "{*}" ? .oneSegment : .anyRest]
                literal = ""
            }
            if !literal.isEmpty { parts.append(.literal(literal)) }
            self.parts = parts
        }
    }
}
