// SPDX-License-Identifier: Apache-2.0

extension AuthorizerProgram {
    /// The first rule of each group that matches.
    @inline(__always)
    func matches<Fields: RouteHeaderFields & ~Copyable>(
        _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer, _ headers: borrowing Fields
    ) -> AuthorizerMatches {
        var found = AuthorizerMatches()
        scanPaths(&found, request, path, headers)
        if hasSources, let principal = request.source.principal {
            let source = request.source
            scan(principals, principal, source.principalHash, &found, request, path, headers)
            if let namespace = source.namespace, let account = source.account {
                scan(namespaces, namespace, source.namespaceHash, &found, request, path, headers)
                scan(accounts, account, source.accountHash, &found, request, path, headers)
            }
        }
        if methods.has(length: request.method.count) {
            let hash = PathIndex.hash(PathIndex.seed, request.method)
            scan(methods, request.method, hash, &found, request, path, headers)
        }
        scan(others, &found, request, path, headers)
        return found
    }

    /// One pass over the path hashes it up to each length that a prefix has, and no further than one may be found.
    private func scanPaths<Fields: RouteHeaderFields & ~Copyable>(
        _ found: inout AuthorizerMatches, _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer,
        _ headers: borrowing Fields
    ) {
        var hash = PathIndex.seed
        var hashed = 0
        for length in prefixLengths {
            if length > path.count { break }
            hash = PathIndex.hash(hash, UnsafeRawBufferPointer(rebasing: path[hashed..<length]))
            hashed = length
            let prefix = UnsafeRawBufferPointer(rebasing: path[..<length])
            scan(pathPrefixes, prefix, hash, &found, request, path, headers)
        }
        if exactPaths.has(length: path.count) {
            hash = PathIndex.hash(hash, UnsafeRawBufferPointer(rebasing: path[hashed...]))
            scan(exactPaths, path, hash, &found, request, path, headers)
        }
    }

    @inline(__always)
    private func scan<Fields: RouteHeaderFields & ~Copyable>(
        _ index: PathIndex, _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ found: inout AuthorizerMatches,
        _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer, _ headers: borrowing Fields
    ) {
        let record = index.record(key, hash)
        if record >= 0 { scan(index.entries(record), &found, request, path, headers) }
    }

    private func scan<Fields: RouteHeaderFields & ~Copyable>(
        _ range: Range<Int>, _ found: inout AuthorizerMatches, _ request: AuthorizationRequest,
        _ path: UnsafeRawBufferPointer, _ headers: borrowing Fields
    ) {
        for position in range {
            let candidate = candidates[position]
            let known = found[candidate.group]
            // The group has an earlier one: later candidates are of no interest.
            if known >= 0, known <= candidate.rule { continue }
            if holds(candidate, request, path, headers) { found[candidate.group] = candidate.rule }
        }
    }

    @inline(__always)
    private func holds<Fields: RouteHeaderFields & ~Copyable>(
        _ candidate: Candidate, _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer,
        _ headers: borrowing Fields
    ) -> Bool {
        if candidate.template >= 0, !isMatch(Int(candidate.template), path) { return false }
        if !candidate.tests.isEmpty, !all(candidate.tests, request, path, headers, except: candidate.proven) {
            return false
        }
        return !candidate.hasMore || holdsRest(candidate, request, path, headers)
    }

    /// What is empty is not asked about: most rules have one list.
    private func holdsRest<Fields: RouteHeaderFields & ~Copyable>(
        _ candidate: Candidate, _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer,
        _ headers: borrowing Fields
    ) -> Bool {
        let rule = rules[Int(candidate.rule)]
        if candidate.kind != .operation, !rule.to.isEmpty, !any(rule.to, request, path, headers) { return false }
        if candidate.kind != .source, !rule.from.isEmpty, !any(rule.from, request, path, headers) { return false }
        return rule.when.isEmpty || all(rule.when, request, path, headers)
    }

    @inline(__always)
    private func any<Fields: RouteHeaderFields & ~Copyable>(
        _ range: Range<Int32>, _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer,
        _ headers: borrowing Fields
    ) -> Bool {
        for index in range where all(clauses[Int(index)].tests, request, path, headers) { return true }
        return false
    }

    /// - Parameter proven: The index of a test that holds.
    private func all<Fields: RouteHeaderFields & ~Copyable>(
        _ range: Range<Int32>, _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer,
        _ headers: borrowing Fields, except proven: Int32 = -1
    ) -> Bool {
        for index in range where index != proven {
            let test = tests[Int(index)]
            if isMet(test, request, path, headers) == test.isNegated { return false }
        }
        return true
    }

    /// Whether the attribute is there and has one of the values.
    @inline(__always)
    private func isMet<Fields: RouteHeaderFields & ~Copyable>(
        _ test: Test, _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer, _ headers: borrowing Fields
    ) -> Bool {
        let text: UnsafeRawBufferPointer?
        switch test.attribute {
        case .method: text = request.method
        case .path: text = path
        case .authority: text = request.authority
        case .header: return isHeaderMatch(test, headers)
        default: return isMet(test, request)
        }
        guard let text else { return false }
        return isMatch(test.values, text)
    }

    /// The same for what a connection can tell; nothing of HTTP is met.
    @inline(__always)
    func isMet(_ test: Test, _ connection: AuthorizationRequest) -> Bool {
        let text: UnsafeRawBufferPointer?
        switch test.attribute {
        case .method, .path, .authority, .header: return false
        case .principal: text = connection.source.principal
        case .namespace: text = connection.source.namespace
        case .account: text = connection.source.account
        case .trustDomain: text = connection.source.trustDomain
        case .sourceAddress: return contains(test.values, connection.source.address)
        case .remoteAddress: return contains(test.values, connection.source.remoteAddress)
        case .destinationAddress: return contains(test.values, connection.destinationAddress)
        case .destinationPort:
            for index in test.values where ports[Int(index)] == connection.destinationPort { return true }
            return false
        }
        guard let text else { return false }
        return isMatch(test.values, text)
    }

    private func contains(_ range: Range<Int32>, _ address: IPAddress) -> Bool {
        for index in range where cidrs[Int(index)].contains(address) { return true }
        return false
    }

    private func isMatch(_ pattern: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
        text.withUnsafeBytes { patterns[pattern].matches(bytes, $0) }
    }

    @inline(__always)
    private func isMatch(_ range: Range<Int32>, _ bytes: UnsafeRawBufferPointer) -> Bool {
        text.withUnsafeBytes { text in
            for index in range where patterns[Int(index)].matches(bytes, text) { return true }
            return false
        }
    }

    /// Lines of one name are one value with commas between them, as Envoy has it. Apart, for it needs room that the other
    /// tests do not.
    @inline(never)
    private func isHeaderMatch<Fields: RouteHeaderFields & ~Copyable>(
        _ test: Test, _ headers: borrowing Fields
    ) -> Bool {
        text.withUnsafeBytes { text in
            let offset = Int(test.name.offset)
            let name = UnsafeRawBufferPointer(rebasing: text[offset..<offset + Int(test.name.length)])
            var cursor = 0
            guard let line = headers.nextValue(of: name, after: &cursor) else { return false }
            var ahead = cursor
            guard var next = headers.nextValue(of: name, after: &ahead) else {
                for index in test.values where patterns[Int(index)].matches(line, text) { return true }
                return false
            }
            var length = line.count + 1 + next.count
            while let further = headers.nextValue(of: name, after: &ahead) {
                next = further
                length += 1 + next.count
            }
            return withUnsafePointer(to: headers) { fields in
                for index in test.values {
                    let value = JoinedLines(fields, name, first: line, after: cursor)
                    if patterns[Int(index)].matches(value, length: length, text) { return true }
                }
                return false
            }
        }
    }
}

extension TextPattern {
    /// Whether bytes that come one by one match. Never asked of templates and of what ignores case.
    fileprivate func matches(
        _ value: consuming some RegexInput, length: Int, _ texts: UnsafeRawBufferPointer
    ) -> Bool {
        let own = Int(text.length)
        switch kind {
        case .presence: return true
        case .template: return false
        case .exact: if length != own { return false }
        case .prefix: if length < own { return false }
        case .suffix:
            if length < own { return false }
            for _ in 0..<length - own { _ = value.next() }
        }
        for index in 0..<own where value.next() != texts[Int(text.offset) + index] { return false }
        return true
    }
}
