// SPDX-License-Identifier: Apache-2.0

extension PathModifier {
    /// Writes what becomes of a path.
    ///
    /// The table in the API for ReplacePrefixMatch follows from two rules: a `/` at the end of prefix and replacement
    /// says nothing, and the result is never empty.
    ///
    /// - Parameters:
    ///   - path: in normal form, without the query.
    ///   - prefixLength: ``Router/Match/prefixLength``. `nil` with a prefix to replace cannot come from a valid route;
    ///     the path then stays.
    public func append(
        to output: inout [UInt8], path: UnsafeRawBufferPointer, prefixLength: Int?
    ) {
        switch self {
        case .replaceFullPath(let full):
            output += full.isEmpty ? "/".utf8 : full.utf8
        case .replacePrefixMatch(let replacement):
            guard let prefixLength, prefixLength <= path.count else {
                output += path
                return
            }
            let rest = path[prefixLength...]
            let start = replacement.utf8.last == UInt8(ascii: "/") ? replacement.utf8.dropLast() : replacement.utf8[...]
            output += start
            output += rest
            if start.isEmpty, rest.isEmpty { output.append(UInt8(ascii: "/")) }
        }
    }
}

extension URLRewrite {
    /// Writes path and query of the request to the backend.
    public func appendTarget(to output: inout [UInt8], _ request: RouteRequest, prefixLength: Int?) {
        if let path {
            path.append(to: &output, path: request.path, prefixLength: prefixLength)
        } else {
            output += request.path
        }
        output.appendQuery(request.query)
    }
}

extension [UInt8] {
    /// `?` and the query, if there is one; an empty one is kept too.
    mutating func appendQuery(_ query: UnsafeRawBufferPointer?) {
        guard let query else { return }
        append(UInt8(ascii: "?"))
        append(contentsOf: query)
    }
}
