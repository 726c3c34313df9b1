// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Identity
import TLSEngine

/// What a node asks its authority, as JSON in a frame (``FrameReader``) of a connection that was agreed to be for
/// ``TLSApplication/authority``. Answers come in the order of the calls.
///
///     node       {"join":{"token":"…","node":"n2","request":"BASE64"}}     without a certificate; nothing else is
///     authority  {"certificate":{"chain":["BASE64",…]}}
///     node       {"trust":{}}
///     authority  {"trust":{"roots":["BASE64",…],"revocations":[]}}
///     node       {"issue":{"identity":"spiffe://…","request":"BASE64"}}
///     authority  {"refused":{"code":"notOnThisNode","reason":"…"}}
///
/// Binary values are DER. Requests are PKCS #10: they prove that the node has the key, and name nobody.
enum AuthorityCall: Codable, Hashable {
    /// The certificate of a node, for its token.
    case join(token: String, node: String, request: Data)
    /// The next certificate of the node that asks.
    case renew(request: Data)
    /// The certificate of a workload.
    case issue(identity: String, request: Data)
    /// Whom to believe now.
    case trust

    /// Longest call, in bytes of JSON.
    static let maximumBytes = 16 << 10
}

/// What the authority answers.
enum AuthorityAnswer: Codable, Hashable {
    /// Leaf first, without the root.
    case certificate(chain: [Data])
    case trust(roots: [Data], revocations: [Data])
    case refused(code: AuthorityRefusal, reason: String)

    /// Longest answer, in bytes of JSON: a whole file of revocation lists, in base64, and roots.
    static let maximumBytes = 4 << 20

    var isBusy: Bool { if case .refused(.busy, _) = self { true } else { false } }
}

/// Why an authority refuses, for programs; the reason beside it is for people.
enum AuthorityRefusal: String, Codable, Hashable {
    // Tokens.
    case unknownToken, usedToken, expiredToken, otherNodesToken
    /// The call needs a node's certificate, and the asker has shown none.
    case notANode
    case notOnThisNode
    /// The call cannot be read, or says something that no node would.
    case malformed
    /// More calls than a node may make; to be tried again.
    case busy
    /// The authority cannot sign, or keep what it must.
    case failed
}

/// JSON of one call or answer.
enum AuthorityJSON {
    static func encode(_ value: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do { return [UInt8](try encoder.encode(value)) } catch {
            preconditionFailure("strings and data can be written as JSON: \(error)")
        }
    }

    /// - Returns: `nil` if it is none.
    static func decode<Value: Decodable>(_: Value.Type, _ bytes: [UInt8]) -> Value? {
        try? JSONDecoder().decode(Value.self, from: Data(bytes))
    }
}

/// The identities of those who give certificates and those who ask for them. None is a workload's: their paths do not
/// begin with `/ns/`.
enum MeshMember {
    static func authority(_ domain: TrustDomain) throws(SPIFFEIDError) -> SPIFFEID {
        try SPIFFEID("spiffe://\(domain)/sockmesh/ca")
    }

    static func node(_ name: String, _ domain: TrustDomain) throws(SPIFFEIDError) -> SPIFFEID {
        try SPIFFEID("spiffe://\(domain)/sockmesh/node/\(name)")
    }

    /// The name of the node whose identity it is.
    static func node(of id: SPIFFEID) -> String? {
        let parts = id.path.split(separator: "/", omittingEmptySubsequences: true)
        return parts.count == 3 && parts[0] == "sockmesh" && parts[1] == "node" ? String(parts[2]) : nil
    }
}
