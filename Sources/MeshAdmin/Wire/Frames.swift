// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// First message of each side.
struct HelloFrame: Codable, Equatable {
    struct Hello: Codable, Equatable {
        /// ``AdminProtocol/version`` of the sender.
        var `protocol`: Int
        /// Program and version, for messages.
        var name: String
        /// Node of the agent.
        var node: String?
    }

    var hello: Hello
}

/// A call as the client encodes it.
struct RequestFrame<Call: AdminCall>: Encodable {
    var id: UInt64
    var method = Call.method
    var arguments: Call
}

/// A call as the server decodes it.
struct DecodedRequest: Decodable, Equatable {
    var id: UInt64
    /// `nil`: a method that this agent does not know.
    var request: AdminRequest?
    var method: String

    private enum CodingKeys: String, CodingKey {
        case id, method, arguments
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        id = try container.decode(UInt64.self, forKey: .id)
        method = try container.decode(String.self, forKey: .method)
        func arguments<Call: AdminCall>(_: Call.Type) throws -> Call {
            try container.decode(Call.self, forKey: .arguments)
        }
        request =
            switch method {
            case StatusRequest.method: .status(try arguments(StatusRequest.self))
            case GenerationsRequest.method: .generations(try arguments(GenerationsRequest.self))
            case WorkloadsRequest.method: .workloads(try arguments(WorkloadsRequest.self))
            case ServicesRequest.method: .services(try arguments(ServicesRequest.self))
            case RoutesRequest.method: .routes(try arguments(RoutesRequest.self))
            case IdentitiesRequest.method: .identities(try arguments(IdentitiesRequest.self))
            case RenewIdentitiesRequest.method: .renewIdentities(try arguments(RenewIdentitiesRequest.self))
            case AuthorityRequest.method: .authority(try arguments(AuthorityRequest.self))
            case RotateAuthorityRequest.method: .rotateAuthority(try arguments(RotateAuthorityRequest.self))
            case ConnectionsRequest.method: .connections(try arguments(ConnectionsRequest.self))
            case FlowsRequest.method: .flows(try arguments(FlowsRequest.self))
            case PoliciesRequest.method: .policies(try arguments(PoliciesRequest.self))
            case ApplyPoliciesRequest.method: .applyPolicies(try arguments(ApplyPoliciesRequest.self))
            case DeletePolicyRequest.method: .deletePolicy(try arguments(DeletePolicyRequest.self))
            case DiffPoliciesRequest.method: .diffPolicies(try arguments(DiffPoliciesRequest.self))
            case RollbackPoliciesRequest.method: .rollbackPolicies(try arguments(RollbackPoliciesRequest.self))
            case ExplainRequest.method: .explain(try arguments(ExplainRequest.self))
            case PrepareRunRequest.method: .prepareRun(try arguments(PrepareRunRequest.self))
            case UninstallRequest.method: .uninstall(try arguments(UninstallRequest.self))
            case MetricsRequest.method: .metrics(try arguments(MetricsRequest.self))
            default: nil
            }
    }
}

/// A message of the server.
struct ResponseFrame<Item: Codable>: Codable {
    /// Absent only for an error about the connection itself.
    var id: UInt64?
    /// Exactly one of the following is present.
    var item: Item?
    var progress: String?
    var lost: UInt64?
    var end: Bool?
    var error: AdminError?
    var hello: HelloFrame.Hello?
}

/// JSON as it goes over the wire: one line, keys in a fixed order, slashes plain.
enum WireJSON {
    /// The value as one line, with the newline.
    static func line(_ value: some Encodable) throws(AdminError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            var bytes = [UInt8](try encoder.encode(value))
            bytes.append(UInt8(ascii: "\n"))
            return bytes
        } catch {
            throw AdminError(.failed, "cannot encode a message: \(error)")
        }
    }

    /// - Parameter what: names the message in the error.
    static func decode<Value: Decodable>(
        _: Value.Type, from line: [UInt8], what: String
    ) throws(AdminError) -> Value {
        do {
            return try JSONDecoder().decode(Value.self, from: Data(line))
        } catch let error as DecodingError {
            throw AdminError(.invalidRequest, "\(what) is not understood: \(Self.explain(error))")
        } catch let error as AdminError {
            throw error
        } catch {
            throw AdminError(.invalidRequest, "\(what) is not understood: \(error)")
        }
    }

    private static func explain(_ error: DecodingError) -> String {
        func path(_ context: DecodingError.Context) -> String {
            let keys = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? ".\($0.stringValue)" }
            let joined = keys.joined()
            return joined.isEmpty ? "the message" : String(joined.drop { $0 == "." })
        }
        switch error {
        case .keyNotFound(let key, let context): return "\(path(context)) has no field '\(key.stringValue)'"
        case .typeMismatch(let type, let context): return "\(path(context)) is not of type \(type)"
        case .valueNotFound(_, let context): return "\(path(context)) is null"
        case .dataCorrupted(let context): return "\(path(context)): \(context.debugDescription)"
        @unknown default: return String(describing: error)
        }
    }
}
