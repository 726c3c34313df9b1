// SPDX-License-Identifier: Apache-2.0

/// The rules of all routes that decide for one port of a Service and one group of clients.
///
/// Matching allocates nothing and takes no reference: exact paths by hash, prefixes by hash from element to element,
/// then what has no path to look up. A class, so that a connection holds its router by one reference.
public final class Router: Sendable {
    /// The rule that a request has met.
    public struct Match: Hashable, Sendable, BitwiseCopyable {
        /// Index into ``Router/rules``.
        public let rule: Int
        /// Index of the match in its rule; 0 for the rule that has none.
        public let match: Int
        /// How many bytes of the request's path a prefix has matched, 0 for the prefix `/`; `nil` if another kind of
        /// condition has matched.
        public let prefixLength: Int?
    }

    public let kind: MeshRoute.Kind
    /// In no particular order.
    public let rules: [CompiledRouteRule]

    private let text: [UInt8]
    private let entries: [RouterEntry]
    private let tests: [RouterEntry.FieldTest]
    private let patterns: RegexTables
    private let exact: PathIndex
    private let prefixes: PathIndex
    /// Entries that must be tried one by one: patterns, and those for every path.
    private let others: Range<Int>

    init(_ parts: RouterBuilder.Parts) {
        kind = parts.kind
        rules = parts.rules
        text = parts.text
        entries = parts.entries
        tests = parts.tests
        patterns = parts.patterns
        exact = parts.exact
        prefixes = parts.prefixes
        others = parts.others
    }

    /// The rule that decides about a request.
    ///
    /// - Returns: `nil` if no rule matches: HTTP 404, gRPC UNIMPLEMENTED.
    public func match<Fields: RouteHeaderFields & ~Copyable>(
        _ request: RouteRequest, headers: borrowing Fields
    ) -> Match? {
        let path = request.path
        if kind == .grpc, !Self.isGRPC(path) { return nil }
        let found = find(path)
        var index = -1
        if found.exact >= 0 { index = first(of: exact.entries(found.exact), request, headers) }
        var node = found.prefix
        while index < 0, node >= 0 {
            index = first(of: prefixes.entries(node), request, headers)
            node = prefixes.parent(node)
        }
        if index < 0 { index = first(of: others, request, headers) }
        guard index >= 0 else { return nil }
        let entry = entries[index]
        return Match(
            rule: Int(entry.rule), match: Int(entry.match),
            prefixLength: entry.prefixLength < 0 ? nil : Int(entry.prefixLength))
    }

    /// The records of the whole path and of its longest prefix; -1: none.
    private func find(_ path: UnsafeRawBufferPointer) -> (exact: Int, prefix: Int) {
        var hash = PathIndex.seed
        var prefix = -1
        for offset in 0..<path.count {
            let byte = path[offset]
            if byte == UInt8(ascii: "/"), offset > 0, prefixes.has(length: offset) {
                let found = prefixes.record(UnsafeRawBufferPointer(rebasing: path[..<offset]), hash)
                if found >= 0 { prefix = found }
            }
            hash = PathIndex.hash(hash, byte)
        }
        if prefixes.has(length: path.count) {
            let found = prefixes.record(path, hash)
            if found >= 0 { prefix = found }
        }
        return (exact.has(length: path.count) ? exact.record(path, hash) : -1, prefix)
    }

    /// The first entry whose other conditions hold; -1: none.
    private func first<Fields: RouteHeaderFields & ~Copyable>(
        of range: Range<Int>, _ request: RouteRequest, _ headers: borrowing Fields
    ) -> Int {
        for index in range where holds(entries[index], request, headers) { return index }
        return -1
    }

    private func holds<Fields: RouteHeaderFields & ~Copyable>(
        _ entry: RouterEntry, _ request: RouteRequest, _ headers: borrowing Fields
    ) -> Bool {
        if !entry.method.isNone, !isEqual(entry.method, request.method) { return false }
        if entry.pathPattern >= 0 || entry.grpcMethodPattern >= 0 || !entry.grpcMethod.isNone {
            guard pathHolds(entry, request.path) else { return false }
        }
        for index in entry.headers where !headerHolds(tests[Int(index)], headers) { return false }
        if !entry.parameters.isEmpty {
            guard let query = request.query else { return false }
            for index in entry.parameters where !parameterHolds(tests[Int(index)], query) { return false }
        }
        return true
    }

    private func pathHolds(_ entry: RouterEntry, _ path: UnsafeRawBufferPointer) -> Bool {
        if kind == .http { return patterns.matches(Int(entry.pathPattern), BufferInput(path)) }
        let slash = path[1...].firstIndex(of: UInt8(ascii: "/")) ?? path.count
        let service = UnsafeRawBufferPointer(rebasing: path[1..<slash])
        let method = UnsafeRawBufferPointer(rebasing: path[min(slash + 1, path.count)...])
        if entry.pathPattern >= 0, !patterns.matches(Int(entry.pathPattern), BufferInput(service)) { return false }
        if entry.grpcMethodPattern >= 0 { return patterns.matches(Int(entry.grpcMethodPattern), BufferInput(method)) }
        return entry.grpcMethod.isNone || isEqual(entry.grpcMethod, method)
    }

    private func headerHolds<Fields: RouteHeaderFields & ~Copyable>(
        _ test: RouterEntry.FieldTest, _ headers: borrowing Fields
    ) -> Bool {
        text.withUnsafeBytes { text in
            let name = Self.slice(test.name, text)
            var cursor = 0
            guard let line = headers.nextValue(of: name, after: &cursor) else { return false }
            var ahead = cursor
            if headers.nextValue(of: name, after: &ahead) == nil {
                return holds(test, BufferInput(line), text)
            }
            return withUnsafePointer(to: headers) { fields in
                holds(test, JoinedLines(fields, name, first: line, after: cursor), text)
            }
        }
    }

    private func parameterHolds(_ test: RouterEntry.FieldTest, _ query: UnsafeRawBufferPointer) -> Bool {
        text.withUnsafeBytes { text in
            guard let value = QueryParameters.value(of: Self.slice(test.name, text), in: query) else { return false }
            return holds(test, FormInput(value), text)
        }
    }

    private func holds(
        _ test: RouterEntry.FieldTest, _ value: some RegexInput, _ text: UnsafeRawBufferPointer
    ) -> Bool {
        test.pattern >= 0
            ? patterns.matches(Int(test.pattern), value) : value.equals(Self.slice(test.value, text))
    }

    private func isEqual(_ wanted: RouterEntry.Text, _ bytes: UnsafeRawBufferPointer) -> Bool {
        text.withUnsafeBytes { Self.slice(wanted, $0).equals(bytes) }
    }

    private static func slice(_ wanted: RouterEntry.Text, _ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: text[Int(wanted.offset)..<Int(wanted.offset + wanted.length)])
    }

    /// `/` service `/` method, neither empty: what a gRPC request's path is.
    private static func isGRPC(_ path: UnsafeRawBufferPointer) -> Bool {
        guard path.count >= 4, path[0] == UInt8(ascii: "/"), path[1] != UInt8(ascii: "/"),
            let slash = path[1...].firstIndex(of: UInt8(ascii: "/")), slash + 1 < path.count
        else { return false }
        return !path[(slash + 1)...].contains(UInt8(ascii: "/"))
    }
}
