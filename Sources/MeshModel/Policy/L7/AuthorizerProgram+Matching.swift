// SPDX-License-Identifier: Apache-2.0

extension AuthorizerProgram {
    /// The first rule of each group that matches.
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
        if methods.longestKey >= request.method.count {
            let hash = request.method.reduce(PathIndex.seed, PathIndex.hash)
            scan(methods, request.method, hash, &found, request, path, headers)
        }
        scan(others, &found, request, path, headers)
        return found
    }

    /// One pass over the path hashes it up to each length that a prefix has.
    private func scanPaths<Fields: RouteHeaderFields & ~Copyable>(
        _ found: inout AuthorizerMatches, _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer,
        _ headers: borrowing Fields
    ) {
        if exactPaths.isEmpty, pathPrefixes.isEmpty { return }
        var hash = PathIndex.seed
        for offset in 0...min(path.count, max(exactPaths.longestKey, pathPrefixes.longestKey)) {
            let word = offset >> 6
            if word < prefixLengths.count, prefixLengths[word] >> UInt64(offset & 63) & 1 == 1 {
                let prefix = UnsafeRawBufferPointer(rebasing: path[..<offset])
                scan(pathPrefixes, prefix, hash, &found, request, path, headers)
            }
            if offset == path.count {
                scan(exactPaths, path, hash, &found, request, path, headers)
            } else {
                hash = PathIndex.hash(hash, path[offset])
            }
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
            let rule = rules[Int(candidate.rule)]
            let known = found[rule.group]
            // The group has an earlier one: later candidates are of no interest.
            if known >= 0, known <= candidate.rule { continue }
            if holds(candidate, rule, request, path, headers) { found[rule.group] = candidate.rule }
        }
    }

    private func holds<Fields: RouteHeaderFields & ~Copyable>(
        _ candidate: Candidate, _ rule: Rule, _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer,
        _ headers: borrowing Fields
    ) -> Bool {
        switch candidate.kind {
        case .rule:
            guard any(rule.to, request, path, headers), any(rule.from, request, path, headers) else { return false }
        case .path:
            guard isMatch(Int(candidate.pattern), path),
                all(clauses[Int(candidate.clause)].tests, request, path, headers, exceptPaths: true),
                any(rule.from, request, path, headers)
            else { return false }
        case .source:
            guard all(clauses[Int(candidate.clause)].tests, request, path, headers),
                any(rule.to, request, path, headers)
            else { return false }
        }
        return all(rule.when, request, path, headers)
    }

    private func any<Fields: RouteHeaderFields & ~Copyable>(
        _ range: Range<Int32>, _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer,
        _ headers: borrowing Fields
    ) -> Bool {
        if range.isEmpty { return true }
        for index in range where all(clauses[Int(index)].tests, request, path, headers) { return true }
        return false
    }

    /// - Parameter exceptPaths: Tests that the path is one of some are passed over.
    private func all<Fields: RouteHeaderFields & ~Copyable>(
        _ range: Range<Int32>, _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer,
        _ headers: borrowing Fields, exceptPaths: Bool = false
    ) -> Bool {
        for index in range {
            let test = tests[Int(index)]
            if exceptPaths, test.attribute == .path, !test.isNegated { continue }
            if isMet(test, request, path, headers) == test.isNegated { return false }
        }
        return true
    }

    /// Whether the attribute is there and has one of the values.
    private func isMet<Fields: RouteHeaderFields & ~Copyable>(
        _ test: Test, _ request: AuthorizationRequest, _ path: UnsafeRawBufferPointer, _ headers: borrowing Fields
    ) -> Bool {
        switch test.attribute {
        case .method: return isMatch(test.values, request.method)
        case .path: return isMatch(test.values, path)
        case .authority: return request.authority.map { isMatch(test.values, $0) } ?? false
        case .header: return isHeaderMatch(test, headers)
        case .principal: return request.source.principal.map { isMatch(test.values, $0) } ?? false
        case .namespace: return request.source.namespace.map { isMatch(test.values, $0) } ?? false
        case .account: return request.source.account.map { isMatch(test.values, $0) } ?? false
        case .trustDomain: return request.source.trustDomain.map { isMatch(test.values, $0) } ?? false
        case .sourceAddress: return contains(test.values, request.source.address)
        case .remoteAddress: return contains(test.values, request.source.remoteAddress)
        case .destinationAddress: return contains(test.values, request.destinationAddress)
        case .destinationPort:
            for index in test.values where ports[Int(index)] == request.destinationPort { return true }
            return false
        }
    }

    private func contains(_ range: Range<Int32>, _ address: IPAddress) -> Bool {
        for index in range where cidrs[Int(index)].contains(address) { return true }
        return false
    }

    private func isMatch(_ pattern: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
        text.withUnsafeBytes { patterns[pattern].matches(bytes, $0) }
    }

    private func isMatch(_ range: Range<Int32>, _ bytes: UnsafeRawBufferPointer) -> Bool {
        text.withUnsafeBytes { text in
            for index in range where patterns[Int(index)].matches(bytes, text) { return true }
            return false
        }
    }

    /// Lines of one name are one value with commas between them, as Envoy has it.
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
