// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import LinuxIO
import TLSEngine
import Testing

@testable import IdentityProviders

/// An authority in a directory of its own, whose configuration a test writes.
final class JoinWorld {
    /// Which node has which service accounts of the namespace `shop`.
    final class Placement: IdentityPlacement {
        var accounts: [String: Set<String>] = ["n1": ["web"], "n2": ["db"]]

        func refusal(of id: SPIFFEID, for node: String) -> String? {
            guard let workload = id.workload, workload.namespace == "shop",
                accounts[node]?.contains(String(workload.serviceAccount)) == true
            else { return "it is not on node \(node)" }
            return nil
        }
    }

    let path = NSTemporaryDirectory() + "mesh-join-\(UUID().uuidString)"
    let domain: TrustDomain
    let authority: LocalAuthority
    let tokens: NodeTokens
    let placement = Placement()
    let clock = FastClock()
    private(set) var events: [AuthorityEvent] = []

    init(at now: UnixTime = .now) throws {
        domain = try TrustDomain("mesh.test")
        authority = try LocalAuthority(
            domain, at: path + "/authority.pem", holding: LocalAuthority.lock(path + "/authority.pem"),
            revocations: path + "/revoked.pem", lifetimes: .shared, now: now)
        tokens = NodeTokens(path + "/tokens")
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func note(_ event: AuthorityEvent) { events.append(event) }

    func desk() -> AuthorityDesk { AuthorityDesk(authority, tokens, placement) { [unowned self] in note($0) } }

    func service(on loop: EventLoop, at port: UInt16 = 0) throws -> AuthorityService {
        try AuthorityService(
            authority, tokens: tokens, placement: placement, at: .loopback(port: port), on: loop,
            addressText: { "127.0.0.1:\($0.port)" }, clock: { [clock] in clock.now },
            report: { [unowned self] in note($0) })
    }

    func id(_ account: String) throws -> SPIFFEID { try SPIFFEID(domain, namespace: "shop", serviceAccount: account) }

    /// Makes a join file. - Returns: Its path.
    func joinFile(
        for node: String, _ service: AuthorityService, token: String? = nil, trusting roots: [[UInt8]]? = nil
    ) throws -> String {
        let file = path + "/\(node).join"
        let token = try token ?? tokens.make(for: node, lasting: 3600, at: .now)
        try JoinFile(
            authority: "127.0.0.1:\(service.endpoint.port)", node: node, trustDomain: domain, token: token,
            expires: .now + 3600, roots: roots ?? authority.roots
        ).write(file)
        return file
    }

    func provider(
        _ node: String, _ file: String, keepingIn directory: String? = nil, on loop: EventLoop
    ) throws -> JoinedAuthority {
        func endpoint(_ text: String) -> StreamEndpoint? {
            text.split(separator: ":").last.flatMap { UInt16($0) }.map { .loopback(port: $0) }
        }
        return try JoinedAuthority(
            domain, node: node, joinFile: file, keepingIn: directory ?? path + "/" + node, on: loop,
            endpoint: endpoint, clock: { [clock] in clock.now })
    }
}

/// A clock that goes on when a test waits: pauses are not waited for.
final class FastClock {
    private(set) var ahead: Int64 = 0
    var now: UnixTime { .now + ahead }

    func goOn(_ seconds: Int64 = 1) { ahead += seconds }
}

/// A provider that is called when it has something to do, as an agent calls it.
final class Caller {
    let provider: JoinedAuthority
    private let loop: EventLoop
    private(set) var svids: [SPIFFEID: X509SVID] = [:]
    private(set) var failures: [SPIFFEID: String] = [:]
    /// Also those that are over.
    private(set) var failureCount = 0
    private(set) var trust: TrustMaterial?
    private(set) var trouble: String?

    private let clock: FastClock

    init(_ provider: JoinedAuthority, on loop: EventLoop, _ clock: FastClock) {
        self.provider = provider
        self.loop = loop
        self.clock = clock
    }

    /// Turns the loop until `condition` holds, at most for ten seconds.
    func wait(_ condition: () throws -> Bool) throws -> Bool {
        let end = ContinuousClock.now + .seconds(10)
        while ContinuousClock.now < end {
            for update in provider.advance(to: clock.now) { take(update) }
            if try condition() { return true }
            let before = ContinuousClock.now
            try loop.turn(waitingAtMost: .milliseconds(20))
            // Nothing was to do.
            if ContinuousClock.now - before >= .milliseconds(20) { clock.goOn() }
        }
        return false
    }

    private func take(_ update: IdentityUpdate) {
        switch update {
        case .trust(let new): trust = new
        case .issued(let svid):
            svids[svid.id] = svid
            failures[svid.id] = nil
        case .withdrawn(let id): svids[id] = nil
        case .failed(let id, let reason, _):
            failures[id] = reason
            failureCount += 1
        case .trouble(let new): trouble = new
        }
    }
}
