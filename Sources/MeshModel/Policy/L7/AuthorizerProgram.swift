// SPDX-License-Identifier: Apache-2.0

/// The rules of a ``RequestAuthorizer`` as flat tables of numbers, so that reading them touches no reference count.
struct AuthorizerProgram: Sendable {
    /// What a test looks at.
    enum Attribute: UInt8, BitwiseCopyable {
        case method, path, authority, header
        case principal, namespace, account, trustDomain
        case sourceAddress, remoteAddress, destinationAddress, destinationPort
    }

    /// Holds if the attribute has any of the values; if negated, if it has none of them or is absent.
    struct Test: Sendable {
        let attribute: Attribute
        let isNegated: Bool
        /// In `patterns`, `cidrs` or `ports`, whichever the attribute has.
        let values: Range<Int32>
        /// Of a header, in lower case.
        var name = RouterEntry.Text()
    }

    /// All tests must hold.
    struct Clause: Sendable {
        let tests: Range<Int32>
    }

    /// Whose policies a rule is of. Raw values are indices of ``AuthorizerMatches``.
    enum Group: UInt8, BitwiseCopyable {
        case deny, dryRunDeny, allow, dryRunAllow
    }

    /// Any of `from` AND any of `to` AND all of `when`; no clause at all holds.
    struct Rule: Sendable {
        let group: Group
        let from: Range<Int32>
        let to: Range<Int32>
        let when: Range<Int32>
    }

    /// Where in the index a rule stands, and what need not be tested again there.
    struct Candidate: Sendable {
        enum Kind: UInt8, BitwiseCopyable {
            /// Test the whole rule.
            case rule
            /// Of `to` only one clause.
            case operation
            /// Of `from` only one clause.
            case source
        }

        let rule: Int32
        let group: Group
        let kind: Kind
        /// Of the clause; none if all that it has is `proven`.
        var tests: Range<Int32> = 0..<0
        /// Whether the rule has more than lists of the clause's kind.
        var hasMore = true
        /// Of the clause: that it is looked for here shows that it holds, but for `template`.
        var proven: Int32 = -1
        /// A pattern of the path of which only the beginning is proven; -1: none.
        var template: Int32 = -1
    }

    var text: [UInt8] = []
    var patterns: [TextPattern] = []
    var cidrs: [CIDR] = []
    var ports: [UInt16] = []
    var tests: [Test] = []
    var clauses: [Clause] = []
    var rules: [Rule] = []

    // The index. Candidates of one place stand together, ascending by rule.
    var candidates: [Candidate] = []
    var exactPaths = PathIndex([], isTree: false)
    /// By bytes, as prefixes are compared; a template is at what is before its first operator.
    var pathPrefixes = PathIndex([], isTree: false)
    /// The lengths that such prefixes have, each once, ascending: few, and only these are looked up.
    var prefixLengths: [Int] = []
    var principals = PathIndex([], isTree: false)
    var namespaces = PathIndex([], isTree: false)
    var accounts = PathIndex([], isTree: false)
    var methods = PathIndex([], isTree: false)
    var hasSources = false
    /// Tried for every request.
    var others = 0..<0

    // Whether there is an ALLOW policy, even one without rules: then what no rule allows is denied.
    var hasAllow = false
    var hasDryRunAllow = false
    /// Whether any policy is on trial: otherwise there is one answer.
    var hasDryRun = false
}

/// The first rule of each group that matches; -1: none.
struct AuthorizerMatches: BitwiseCopyable {
    var deny: Int32 = -1
    var dryRunDeny: Int32 = -1
    var allow: Int32 = -1
    var dryRunAllow: Int32 = -1

    @inline(__always)
    subscript(group: AuthorizerProgram.Group) -> Int32 {
        get {
            switch group {
            case .deny: deny
            case .dryRunDeny: dryRunDeny
            case .allow: allow
            case .dryRunAllow: dryRunAllow
            }
        }
        set {
            switch group {
            case .deny: deny = newValue
            case .dryRunDeny: dryRunDeny = newValue
            case .allow: allow = newValue
            case .dryRunAllow: dryRunAllow = newValue
            }
        }
    }
}
