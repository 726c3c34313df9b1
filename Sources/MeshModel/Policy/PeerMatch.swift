// SPDX-License-Identifier: Apache-2.0

/// Which peers a rule means: all of `groups`; of a group any clause; of a clause all terms.
///
/// No group: every peer. A group without clauses: none.
struct PeerMatch: Hashable, Sendable {
    struct Clause: Hashable, Sendable {
        var terms: [Term]
    }

    struct Term: Hashable, Sendable {
        let attribute: Attribute
        /// Holds for the peers that the attribute does not match, also those that lack it.
        let isNegated: Bool
    }

    enum Attribute: Hashable, Sendable {
        /// Pods of the namespaces `namespaces` selects, or of `ownNamespace`; all of them if `pods` is `nil`.
        case pods(LabelSelector?, namespaces: LabelSelector?, ownNamespace: String)
        case cidrs([CIDR])
        case principal([StringMatch])
        case namespace([StringMatch])
        case serviceAccount([NamespacedName])
        case trustDomain([StringMatch])
    }

    var groups: [[Clause]]

    static let everyone = PeerMatch(groups: [])

    /// The one way to find out whom a rule means, for the compiler and for explanations.
    func identities(in index: IdentityIndex) -> IdentitySet {
        var result = index.known
        for group in groups {
            var any = IdentitySet()
            for clause in group { any.formUnion(clause.identities(in: index)) }
            result.formIntersection(any)
        }
        return result
    }

    /// Label keys of pods on which the answer depends.
    var labelKeys: Set<String> {
        attributes.reduce(into: []) { keys, attribute in
            if case .pods(let selector?, _, _) = attribute { keys.formUnion(selector.keys) }
        }
    }

    var cidrs: Set<CIDR> {
        attributes.reduce(into: []) { result, attribute in
            if case .cidrs(let cidrs) = attribute { result.formUnion(cidrs) }
        }
    }

    private var attributes: [Attribute] {
        groups.flatMap { $0.flatMap { $0.terms.map(\.attribute) } }
    }
}

extension PeerMatch.Clause {
    fileprivate func identities(in index: IdentityIndex) -> IdentitySet {
        var result: IdentitySet?
        for term in terms {
            let matching = term.attribute.identities(in: index)
            if term.isNegated {
                result = (result ?? index.known).subtracting(matching)
            } else {
                result = result?.intersection(matching) ?? matching
            }
        }
        return result ?? index.known
    }
}

extension PeerMatch.Attribute {
    fileprivate func identities(in index: IdentityIndex) -> IdentitySet {
        switch self {
        case .pods(let pods, let namespaces, let ownNamespace):
            let candidates =
                namespaces.map { index.pods(inNamespaces: $0) } ?? index.byNamespace[ownNamespace] ?? IdentitySet()
            return pods.map { index.select($0, from: candidates) } ?? candidates
        case .cidrs(let cidrs):
            return index.inside(cidrs)
        case .principal(let matches):
            return Self.principals(in: index) { principal in
                let text = "\(principal.trustDomain)/ns/\(principal.namespace)/sa/\(principal.serviceAccount)"
                return matches.contains { $0.matches(text) }
            }
        case .namespace(let matches):
            return Self.principals(in: index) { principal in matches.contains { $0.matches(principal.namespace) } }
        case .serviceAccount(let accounts):
            return Self.principals(in: index) { principal in
                accounts.contains(
                    NamespacedName(namespace: principal.namespace, name: principal.serviceAccount))
            }
        case .trustDomain(let matches):
            return Self.principals(in: index) { principal in matches.contains { $0.matches(principal.trustDomain) } }
        }
    }

    private static func principals(
        in index: IdentityIndex, where matches: (IdentityIndex.Principal) -> Bool
    ) -> IdentitySet {
        var result = IdentitySet()
        for (principal, identities) in index.byPrincipal where matches(principal) { result.formUnion(identities) }
        return result
    }
}
