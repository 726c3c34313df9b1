// SPDX-License-Identifier: Apache-2.0

/// Why a call failed, for people and for programs.
public struct AdminError: Error, Codable, Equatable, Sendable {
    /// The kind of failure; each has an exit code of `meshctl`, docs/errors.md.
    public enum Code: String, Codable, Sendable, CaseIterable {
        /// A request that the agent cannot read, or arguments that make no sense together.
        case invalidRequest
        /// Manifests that were refused; nothing of them was applied. `findings` says where and why.
        case invalidInput
        case permissionDenied
        /// The named object does not exist.
        case notFound
        /// The change contradicts something that stands: an object that the configuration directory owns.
        case conflict
        /// Client and agent speak different versions of the protocol.
        case versionMismatch
        /// Too many clients, the agent is starting or stopping, or a pod is not enrolled yet. Trying again may help.
        case busy
        /// A message or an answer was larger than the limit.
        case tooLarge
        case timeout
        /// No agent listens, or the connection to it broke.
        case unreachable
        /// The system refused what the agent tried.
        case failed
    }

    public var code: Code
    /// What failed, where and why, in one sentence without a full stop.
    public var message: String
    /// What to do next.
    public var hint: String?
    /// One entry for every problem of the input.
    public var findings: [Finding]

    public init(_ code: Code, _ message: String, hint: String? = nil, findings: [Finding] = []) {
        self.code = code
        self.message = message
        self.hint = hint
        self.findings = findings
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        // A newer agent may know codes that this client does not.
        code = Code(rawValue: try container.decode(String.self, forKey: .code)) ?? .failed
        message = try container.decode(String.self, forKey: .message)
        hint = try container.decodeIfPresent(String.self, forKey: .hint)
        findings = try container.decodeIfPresent([Finding].self, forKey: .findings) ?? []
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(code, forKey: .code)
        try container.encode(message, forKey: .message)
        try container.encodeIfPresent(hint, forKey: .hint)
        if !findings.isEmpty { try container.encode(findings, forKey: .findings) }
    }

    private enum CodingKeys: String, CodingKey {
        case code, message, hint, findings
    }
}

extension AdminError: CustomStringConvertible {
    public var description: String {
        guard let hint else { return message }
        return "\(message) (\(hint))"
    }
}
