// SPDX-License-Identifier: Apache-2.0

public typealias Labels = [String: String]

/// A Kubernetes label selector: every requirement must hold. An empty selector selects everything.
public struct LabelSelector: Hashable, Sendable {
    /// One requirement of `matchExpressions`.
    public enum Requirement: Hashable, Sendable {
        /// The label is present with one of the values.
        case isIn(key: String, values: [String])
        /// The label is absent, or present with another value.
        case isNotIn(key: String, values: [String])
        case exists(key: String)
        case doesNotExist(key: String)
    }

    public var matchLabels: Labels
    public var matchExpressions: [Requirement]

    public init(matchLabels: Labels = [:], matchExpressions: [Requirement] = []) {
        self.matchLabels = matchLabels
        self.matchExpressions = matchExpressions
    }

    public var isEmpty: Bool { matchLabels.isEmpty && matchExpressions.isEmpty }

    public func matches(_ labels: Labels) -> Bool {
        matchLabels.allSatisfy { labels[$0.key] == $0.value } && matchExpressions.allSatisfy { $0.matches(labels) }
    }

    /// The label keys on which the answer depends.
    public var keys: Set<String> { Set(matchLabels.keys).union(matchExpressions.map(\.key)) }
}

extension LabelSelector.Requirement {
    public var key: String {
        switch self {
        case .isIn(let key, _), .isNotIn(let key, _), .exists(let key), .doesNotExist(let key): key
        }
    }

    public func matches(_ labels: Labels) -> Bool {
        switch self {
        case .isIn(let key, let values): labels[key].map(values.contains) ?? false
        case .isNotIn(let key, let values): !(labels[key].map(values.contains) ?? false)
        case .exists(let key): labels[key] != nil
        case .doesNotExist(let key): labels[key] == nil
        }
    }
}

extension LabelSelector: CustomStringConvertible {
    /// As `kubectl -l` writes it, sorted; `<all>` if empty.
    public var description: String {
        if isEmpty { return "<all>" }
        let equal = matchLabels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        return (equal + matchExpressions.map(\.description)).joined(separator: ",")
    }
}

extension LabelSelector.Requirement: CustomStringConvertible {
    public var description: String {
        switch self {
        case .isIn(let key, let values): "\(key) in (\(values.joined(separator: ",")))"
        case .isNotIn(let key, let values): "\(key) notin (\(values.joined(separator: ",")))"
        case .exists(let key): key
        case .doesNotExist(let key): "!\(key)"
        }
    }
}
