// SPDX-License-Identifier: Apache-2.0

/// One match of one rule, as the router tests it: numbers only, so that reading it touches no reference count.
struct RouterEntry {
    /// Bytes in the router's text; an offset of -1: none.
    struct Text: BitwiseCopyable {
        var offset: Int32 = -1
        var length: Int32 = 0

        var isNone: Bool { offset < 0 }
    }

    /// A condition on a header field or a query parameter.
    struct FieldTest: BitwiseCopyable {
        let name: Text
        let value: Text
        /// The number of a pattern; -1: compare with `value`.
        let pattern: Int32
    }

    let rule: Int32
    let match: Int32
    /// Bytes of the normal form of the matched prefix; -1: the path is not matched by a prefix.
    var prefixLength: Int32 = -1
    /// HTTP: the request's method.
    var method = Text()
    /// HTTP: a pattern for the path. gRPC: one for the service.
    var pathPattern: Int32 = -1
    /// gRPC: the method, where the service is left open.
    var grpcMethod = Text()
    var grpcMethodPattern: Int32 = -1
    var headers: Range<Int32> = 0..<0
    var parameters: Range<Int32> = 0..<0
}

/// What decides between matches, in the order of the Gateway API. The smaller is preferred.
struct RouteRank: Comparable {
    /// Kind of path match, then what the kind counts.
    let path: (Int, Int, Int)
    let hasMethod: Bool
    let headers: Int
    let parameters: Int
    /// Position by creation time and name.
    let route: Int
    let rule: Int
    let match: Int

    static func == (left: Self, right: Self) -> Bool { !(left < right) && !(right < left) }

    static func < (left: Self, right: Self) -> Bool {
        if left.path != right.path { return left.path < right.path }
        if left.hasMethod != right.hasMethod { return left.hasMethod }
        if left.headers != right.headers { return left.headers > right.headers }
        if left.parameters != right.parameters { return left.parameters > right.parameters }
        return (left.route, left.rule, left.match) < (right.route, right.rule, right.match)
    }
}
