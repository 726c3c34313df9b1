// SPDX-License-Identifier: Apache-2.0

extension RequestAuthorizer {
    /// Decides about a connection whose bytes are not HTTP, by the same order as ``decide(_:headers:)``.
    ///
    /// As Istio does for TCP: a part of an ALLOW rule that asks for something of HTTP is never met; in a DENY rule it is, so
    /// that the rest of the rule decides. https://istio.io/latest/docs/tasks/security/authorization/authz-tcp/
    ///
    /// - Parameters:
    ///   - address, port: of the workload; never those of a Service.
    public func decide(
        connectionFrom source: RequestSource, to address: IPAddress, port: UInt16
    ) -> AuthorizationDecision {
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        let request = AuthorizationRequest(
            source: source, destinationAddress: address, destinationPort: port, method: none,
            path: RequestPath(normal: none), authority: nil)
        return decision(program.matches(connection: request))
    }
}

extension AuthorizerProgram {
    /// The first rule of each group that matches. Tries one after another: it is asked once for a connection.
    func matches(connection: AuthorizationRequest) -> AuthorizerMatches {
        var found = AuthorizerMatches()
        for (number, rule) in rules.enumerated() where found[rule.group] < 0 {
            let meetsHTTP = rule.group == .deny || rule.group == .dryRunDeny
            if holds(rule, connection, meetsHTTP: meetsHTTP) { found[rule.group] = Int32(number) }
        }
        return found
    }

    /// - Parameter meetsHTTP: Whether what is asked of HTTP counts as met, or as not met.
    private func holds(_ rule: Rule, _ connection: AuthorizationRequest, meetsHTTP: Bool) -> Bool {
        func all(_ range: Range<Int32>) -> Bool {
            range.allSatisfy { index in
                let test = tests[Int(index)]
                if test.attribute.isOfHTTP { return meetsHTTP }
                return isMet(test, connection) != test.isNegated
            }
        }
        func any(_ range: Range<Int32>) -> Bool {
            range.isEmpty || range.contains { all(clauses[Int($0)].tests) }
        }
        return any(rule.from) && any(rule.to) && all(rule.when)
    }
}

extension AuthorizerProgram.Attribute {
    /// Whether only a request has it.
    var isOfHTTP: Bool {
        switch self {
        case .method, .path, .authority, .header: true
        case .principal, .namespace, .account, .trustDomain, .sourceAddress, .remoteAddress, .destinationAddress,
            .destinationPort:
            false
        }
    }
}
