// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import TLSEngine
import Testing

@testable import IdentityProviders

@Suite struct AuthorityDeskTests {
    private static let now = UnixTime(seconds: 1_780_272_000)
    private let world: JoinWorld
    private let desk: AuthorityDesk
    private let request: Data

    init() throws {
        world = try JoinWorld(at: Self.now)
        desk = world.desk()
        request = Data(try CertificateRequest.make(for: PrivateKey.make()))
    }

    private func ask(_ call: AuthorityCall, _ asker: AuthorityDesk.Asker, at now: UnixTime = now) -> AuthorityAnswer {
        desk.answer(AuthorityJSON.encode(call), from: asker, at: "192.0.2.1:7", now: now)
    }

    private func code(_ answer: AuthorityAnswer) -> AuthorityRefusal? {
        if case .refused(let code, _) = answer { code } else { nil }
    }

    /// Whose certificate the answer is, if the authority's roots believe it.
    private func identity(_ answer: AuthorityAnswer) throws -> SPIFFEID? {
        guard case .certificate(let chain) = answer else { return nil }
        return try SVIDVerifier.verify(
            chain: chain.map { [UInt8]($0) }, usage: .client, at: Self.now,
            trusting: desk.trust.bundles(), expecting: .memberOf(world.domain)
        ).get()
    }

    @Test func aNodeGetsWhatTheConfigurationPutsOnIt() throws {
        let web = try world.id("web")
        #expect(try identity(ask(.issue(identity: "\(web)", request: request), .node("n1"))) == web)
        #expect(code(ask(.issue(identity: "\(web)", request: request), .node("n2"))) == .notOnThisNode)
        #expect(world.events.last?.details["identity"] == "\(web)" && world.events.last?.details["asker"] == "n2")
        world.placement.accounts["n1"] = []
        #expect(code(ask(.issue(identity: "\(web)", request: request), .node("n1"))) == .notOnThisNode)
    }

    /// Whatever a node may be told about pods, these are nobody's.
    @Test(arguments: [
        "spiffe://mesh.test/sockmesh/node/n2", "spiffe://mesh.test/sockmesh/ca", "spiffe://mesh.test",
        "spiffe://other.test/ns/shop/sa/web", "no ID", "spiffe://mesh.test/ns/shop/sa/web/more", "",
    ])
    func whatIsNoWorkloadsIdentityIsRefused(_ identity: String) {
        #expect(code(ask(.issue(identity: identity, request: request), .node("n1"))) == .malformed)
    }

    @Test func whoHasNotJoinedIsToldNothing() throws {
        let web = try world.id("web")
        for asker in [AuthorityDesk.Asker.stranger, .other(web)] {
            for call in [AuthorityCall.trust, .renew(request: request), .issue(identity: "\(web)", request: request)] {
                #expect(code(ask(call, asker)) == .notANode)
            }
        }
        let token = try world.tokens.make(for: "n1", lasting: 60, at: Self.now)
        #expect(code(ask(.join(token: token, node: "n1", request: request), .node("n2"))) == .malformed)
    }

    @Test func aNodeJoinsAndRenews() throws {
        let id = try MeshMember.node("n1", world.domain)
        let token = try world.tokens.make(for: "n1", lasting: 60, at: Self.now)
        for name in ["n2", "", "..", "n1/x", "a b"] {
            #expect(code(ask(.join(token: token, node: name, request: request), .stranger)) != nil)
        }
        #expect(code(ask(.join(token: token, node: "n1", request: Data([1, 2])), .stranger)) == .malformed)
        // None of these has used it up.
        #expect(try identity(ask(.join(token: token, node: "n1", request: request), .stranger)) == id)
        #expect(try identity(ask(.renew(request: request), .node("n1"))) == id)
        let other = Data(try CertificateRequest.make(for: PrivateKey.make()))
        #expect(code(ask(.join(token: token, node: "n1", request: other), .stranger)) == .usedToken)
        #expect(world.events.allSatisfy { !$0.details.values.contains { $0.contains(token) } })
    }

    @Test func everyPrefixOfACallIsRefused() throws {
        let whole = AuthorityJSON.encode(AuthorityCall.issue(identity: "\(try world.id("web"))", request: request))
        for count in whole.indices {
            let answer = desk.answer(Array(whole[..<count]), from: .node("n\(count)"), at: "", now: Self.now)
            #expect(code(answer) == .malformed)
        }
    }

    @Test func aNodeThatAsksTooMuchWaits() {
        var codes: [AuthorityRefusal?] = []
        for _ in 0...desk.limits.burst { codes.append(code(ask(.trust, .node("n1")))) }
        #expect(codes.last == .busy && codes.dropLast().allSatisfy { $0 == nil })
        #expect(code(ask(.trust, .node("n2"))) == nil)
        #expect(code(ask(.trust, .node("n1"), at: Self.now + 1)) == nil)
    }
}
