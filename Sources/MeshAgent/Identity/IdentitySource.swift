// SPDX-License-Identifier: Apache-2.0

import Identity

/// What `--identity` says.
public enum IdentityChoice: Hashable, Sendable {
    case local
    /// - Parameter file: of `meshctl ca token`.
    case join(file: String)

    /// - Returns: `nil` if it is neither `local` nor `join:FILE`.
    public init?(_ text: String) {
        if text == "local" {
            self = .local
        } else if text.hasPrefix("join:"), text != "join:" {
            self = .join(file: String(text.dropFirst("join:".count)))
        } else {
            return nil
        }
    }
}

/// Where the certificates of the node's pods come from.
public enum IdentitySource: Equatable, Sendable {
    /// An authority of this machine, in a file of the state directory.
    case local
    /// An authority of another machine, or another process, that this node has joined or joins.
    ///
    /// - Parameter file: path of the join file.
    case joined(file: String)
}

extension TrustDomain {
    /// The one of a mesh that does not say.
    static var usual: TrustDomain {
        guard let domain = try? TrustDomain("cluster.local") else { preconditionFailure("cluster.local is a name") }
        return domain
    }
}

extension AgentConfiguration {
    static func trustDomain(_ given: String?) throws(ConfigurationError.Rejection) -> TrustDomain {
        guard let given else { return .usual }
        do throws(SPIFFEIDError) { return try TrustDomain(given) } catch {
            throw .init("it is no name of a trust domain: \(error)", "use letters a to z, digits, '.', '-' and '_'")
        }
    }

    static func identity(
        _ given: IdentityChoice?, proxy: ProxyChoice, path: (String) -> String
    ) throws(ConfigurationError.Rejection) -> IdentitySource? {
        guard let given else { return nil }
        if let lack = proxy.lack {
            throw .init("\(lack.reason), which could use certificates", "\(lack.remedy), or leave --identity out")
        }
        switch given {
        case .local: return .local
        case .join(let file): return .joined(file: path(file))
        }
    }
}
