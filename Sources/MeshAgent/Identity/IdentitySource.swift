// SPDX-License-Identifier: Apache-2.0

import Identity

/// Words of `--identity`.
public enum IdentityChoice: String, CaseIterable, Sendable {
    case local
}

/// Where the certificates of the node's pods come from.
public enum IdentitySource: Equatable, Sendable {
    /// An authority of this machine, in a file of the state directory.
    case local
}

extension TrustDomain {
    /// The one of a mesh that does not say.
    static var usual: TrustDomain {
        guard let domain = try? TrustDomain("cluster.local") else { preconditionFailure("cluster.local is a name") }
        return domain
    }
}

extension AgentConfiguration {
    /// The file of the local authority.
    public var authorityFile: String { "\(stateDirectory)/authority.pem" }
    /// Revocation lists of its certificates, which an operator puts there.
    public var revocationFile: String { "\(stateDirectory)/revoked.pem" }

    static func trustDomain(_ given: String?) throws(ConfigurationError.Rejection) -> TrustDomain {
        guard let given else { return .usual }
        do throws(SPIFFEIDError) { return try TrustDomain(given) } catch {
            throw .init("it is no name of a trust domain: \(error)", "use letters a to z, digits, '.', '-' and '_'")
        }
    }

    static func identity(
        _ given: IdentityChoice?, proxy: ProxyChoice
    ) throws(ConfigurationError.Rejection) -> IdentitySource? {
        guard let given else { return nil }
        if let lack = proxy.lack {
            throw .init("\(lack.reason), which could use certificates", "\(lack.remedy), or leave --identity out")
        }
        switch given {
        case .local: return .local
        }
    }
}
