// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
public import Identity
import TLSEngine

/// Which identities a node may ask for.
public protocol IdentityPlacement: AnyObject {
    /// - Returns: Why the node may not have it; `nil` if it may.
    func refusal(of id: SPIFFEID, for node: String) -> String?
}

/// What an authority that is served has to tell its operator.
public struct AuthorityEvent: Hashable, Sendable {
    public enum Severity: Hashable, Sendable {
        case debug, info, notice, warning, error
    }

    public let severity: Severity
    public let message: String
    /// Never a token, never a key.
    public let details: [String: String]

    init(_ severity: Severity, _ message: String, _ details: [String: String] = [:]) {
        self.severity = severity
        self.message = message
        self.details = details
    }
}

/// Decides about calls of nodes, and answers them. Does no network I/O.
final class AuthorityDesk {
    /// Who asks, as the handshake has shown.
    enum Asker: Hashable {
        /// Without a certificate.
        case stranger
        case node(String)
        /// With a certificate of the mesh that is no node's.
        case other(SPIFFEID)

        init(_ id: SPIFFEID?) {
            guard let id else {
                self = .stranger
                return
            }
            self = MeshMember.node(of: id).map(Self.node) ?? .other(id)
        }

        var node: String? { if case .node(let name) = self { name } else { nil } }

        var name: String {
            switch self {
            case .stranger: "unknown"
            case .node(let name): name
            case .other(let id): id.description
            }
        }
    }

    /// How much a node may ask. One that asks more has its next certificates some seconds later (``JoinedAuthority``).
    struct Limits {
        /// Calls a second for a long time, and at once.
        var callsPerSecond: Int64 = 200
        var burst: Int64 = 1024
    }

    /// Refusals of strangers, and of nodes that ask too much, that the log has of one second.
    static let linesPerSecond = 10
    /// Most nodes whose calls are counted; beyond it the counts begin anew.
    static let maximumNodes = 16_384

    private struct Allowance {
        var calls: Int64
        var since: UnixTime
    }

    let authority: LocalAuthority
    private let tokens: NodeTokens
    private let placement: any IdentityPlacement
    private let report: (AuthorityEvent) -> Void
    var limits = Limits()
    private var allowances: [String: Allowance] = [:]
    /// The second of the last refusal of a stranger, how many of it are in the log, and how many were left out.
    private var toldAt = UnixTime(seconds: 0)
    private var told = 0
    private var untold = 0
    /// What nodes are told.
    var trust: TrustMaterial

    init(
        _ authority: LocalAuthority, _ tokens: NodeTokens, _ placement: any IdentityPlacement,
        report: @escaping (AuthorityEvent) -> Void
    ) {
        self.authority = authority
        self.tokens = tokens
        self.placement = placement
        self.report = report
        trust = TrustMaterial(authority.trustDomain, roots: authority.roots, revocations: [])
    }

    /// - Parameters:
    ///   - frame: JSON of an ``AuthorityCall``.
    ///   - address: of the asker, for the log.
    func answer(_ frame: [UInt8], from asker: Asker, at address: String, now: UnixTime) -> AuthorityAnswer {
        if case .node(let node) = asker, !admits(node, at: now) {
            return refuse(.busy, "more than \(limits.callsPerSecond) calls a second", asker, address)
        }
        guard let call = AuthorityJSON.decode(AuthorityCall.self, frame) else {
            return refuse(.malformed, "the call cannot be understood", asker, address)
        }
        switch (call, asker) {
        case (.join(let token, let node, let request), .stranger):
            return join(token, node, [UInt8](request), address, at: now)
        case (.renew(let request), .node(let node)):
            return renew(node, [UInt8](request), address, at: now)
        case (.issue(let identity, let request), .node(let node)):
            return issue(identity, [UInt8](request), node, address, at: now)
        case (.trust, .node):
            return .trust(
                roots: (trust.roots[authority.trustDomain] ?? []).map { Data($0) },
                revocations: (trust.revocations[authority.trustDomain] ?? []).map { Data($0) })
        case (.join, _):
            return refuse(.malformed, "a node joins without a certificate", asker, address)
        case (_, .stranger), (_, .other):
            return refuse(.notANode, "only nodes that have joined are answered", asker, address)
        }
    }

    // MARK: - Calls

    private func join(
        _ token: String, _ node: String, _ request: [UInt8], _ address: String, at now: UnixTime
    ) -> AuthorityAnswer {
        guard let id = try? MeshMember.node(node, authority.trustDomain), MeshMember.node(of: id) == node else {
            return refuse(.malformed, "that is no name of a node", .stranger, address)
        }
        let proof: CertificateRequest
        do throws(TLSError) { proof = try CertificateRequest(der: request) } catch {
            return refuse(.malformed, "\(error)", .stranger, address)
        }
        do throws(JoinError) {
            switch try tokens.redeem(token, for: node, key: proof.keyFingerprint, at: now) {
            case .refused(let code, let reason): return refuse(code, reason, .stranger, address, ["node": node])
            case .good: break
            }
        } catch { return fail(error.description, .stranger, address) }
        let answer = certify(id, proof, .stranger, address, lasting: authority.lifetimes.node, at: now)
        if case .certificate = answer {
            report(AuthorityEvent(.notice, "a node has joined", ["node": node, "address": address]))
        }
        return answer
    }

    private func renew(_ node: String, _ request: [UInt8], _ address: String, at now: UnixTime) -> AuthorityAnswer {
        // Its certificate has proved the name.
        guard let id = try? MeshMember.node(node, authority.trustDomain) else {
            return refuse(.malformed, "that is no name of a node", .node(node), address)
        }
        return certify(id, request, .node(node), address, lasting: authority.lifetimes.node, at: now)
    }

    private func issue(
        _ identity: String, _ request: [UInt8], _ node: String, _ address: String, at now: UnixTime
    ) -> AuthorityAnswer {
        let id: SPIFFEID
        do throws(SPIFFEIDError) { id = try SPIFFEID(identity) } catch {
            return refuse(.malformed, "the identity is none: \(error)", .node(node), address)
        }
        guard id.trustDomain == authority.trustDomain, id.workload != nil else {
            return refuse(
                .malformed, "\(id) is no workload's identity of \(authority.trustDomain)", .node(node), address)
        }
        if let reason = placement.refusal(of: id, for: node) {
            return refuse(.notOnThisNode, reason, .node(node), address, ["identity": "\(id)"])
        }
        return certify(id, request, .node(node), address, lasting: authority.lifetimes.leaf, at: now)
    }

    private func certify(
        _ id: SPIFFEID, _ request: [UInt8], _ asker: Asker, _ address: String, lasting seconds: Int64, at now: UnixTime
    ) -> AuthorityAnswer {
        let proof: CertificateRequest
        do throws(TLSError) { proof = try CertificateRequest(der: request) } catch {
            return refuse(.malformed, "\(error)", asker, address)
        }
        return certify(id, proof, asker, address, lasting: seconds, at: now)
    }

    private func certify(
        _ id: SPIFFEID, _ proof: borrowing CertificateRequest, _ asker: Asker, _ address: String,
        lasting seconds: Int64, at now: UnixTime
    ) -> AuthorityAnswer {
        let chain: [[UInt8]]
        do throws(TLSError) {
            chain = try authority.certify(id, for: proof, lasting: seconds, at: now)
        } catch { return fail("\(error)", asker, address) }
        // Whoever revokes what a node has needs the numbers of all of it.
        let serial = chain.first.flatMap { try? Certificate(der: $0).serial } ?? ""
        report(
            AuthorityEvent(
                .info, "a certificate was issued", ["identity": "\(id)", "node": asker.name, "serial": serial]))
        return .certificate(chain: chain.map { Data($0) })
    }

    // MARK: - Refusals

    private func admits(_ node: String, at now: UnixTime) -> Bool {
        if allowances.count >= Self.maximumNodes, allowances[node] == nil { allowances = [:] }
        var one = allowances[node] ?? Allowance(calls: limits.burst, since: now)
        one.calls = min(limits.burst, one.calls + max(0, now - one.since) * limits.callsPerSecond)
        one.since = now
        let isAdmitted = one.calls > 0
        if isAdmitted { one.calls -= 1 }
        allowances[node] = one
        return isAdmitted
    }

    private func refuse(
        _ code: AuthorityRefusal, _ reason: String, _ asker: Asker, _ address: String, _ details: [String: String] = [:]
    ) -> AuthorityAnswer {
        // Anybody can bring these about, or a node that asks too much.
        if code == .busy || asker.node == nil {
            let now = UnixTime.now
            if now > toldAt { (toldAt, told) = (now, 0) }
            guard told < Self.linesPerSecond else {
                untold += 1
                return .refused(code: code, reason: reason)
            }
            told += 1
        }
        var all = details.merging(["code": code.rawValue, "reason": reason, "asker": asker.name, "address": address]) {
            $1
        }
        if untold > 0 { all["others"] = "\(untold)" }
        untold = 0
        report(AuthorityEvent(.warning, "a call was refused", all.mapValues { String($0.prefix(512)) }))
        return .refused(code: code, reason: reason)
    }

    private func fail(_ reason: String, _ asker: Asker, _ address: String) -> AuthorityAnswer {
        report(
            AuthorityEvent(
                .error, "a call has failed", ["reason": reason, "asker": asker.name, "address": address]))
        // What is wrong with the authority's disk is its operator's affair.
        return .refused(code: .failed, reason: "the authority has failed; its log says why")
    }
}
