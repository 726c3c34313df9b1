// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import Testing

@testable import IdentityProviders

@Suite struct NodeTokensTests {
    private static let start = UnixTime(seconds: 1_780_272_000)
    private let world: JoinWorld
    private var tokens: NodeTokens { world.tokens }

    init() throws { world = try JoinWorld() }

    private func code(_ redemption: NodeTokens.Redemption) -> AuthorityRefusal? {
        if case .refused(let code, _) = redemption { code } else { nil }
    }

    @Test func aTokenIsForOneNodeOneKeyAndATime() throws {
        let token = try tokens.make(for: "n1", lasting: 60, at: Self.start)
        let late = try tokens.make(for: "n1", lasting: 60, at: Self.start)
        #expect(token != late && token.utf8.count == 64)
        #expect(code(try tokens.redeem(token, for: "n2", key: "a", at: Self.start)) == .otherNodesToken)
        #expect(code(try tokens.redeem(String(token.reversed()), for: "n1", key: "a", at: Self.start)) == .unknownToken)
        #expect(code(try tokens.redeem("../n1", for: "n1", key: "a", at: Self.start)) == .unknownToken)
        #expect(try tokens.redeem(token, for: "n1", key: "a", at: Self.start + 1) == .good)
        // The answer was lost.
        #expect(try tokens.redeem(token, for: "n1", key: "a", at: Self.start + 59) == .good)
        let second = try tokens.redeem(token, for: "n1", key: "b", at: Self.start + 2)
        #expect(code(second) == .usedToken)
        guard case .refused(_, let reason) = second else { return }
        #expect(reason.contains("used at \(Self.start + 1)") && reason.contains("meshctl ca token n1"))
        #expect(code(try tokens.redeem(token, for: "n1", key: "a", at: Self.start + 60)) == .expiredToken)
        #expect(code(try tokens.redeem(late, for: "n1", key: "a", at: Self.start + 60)) == .expiredToken)
    }

    @Test func onlyTheHashIsKept() throws {
        let token = try tokens.make(for: "n1", lasting: 60, at: Self.start)
        _ = try tokens.redeem(token, for: "n1", key: "a", at: Self.start)
        let names = try FileManager.default.contentsOfDirectory(atPath: tokens.directory)
        #expect(names.count == 1 && names[0] != token)
        let file = "\(tokens.directory)/\(names[0])"
        #expect(try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int == 0o600)
        #expect(!(try String(contentsOfFile: file, encoding: .utf8).contains(token)))
    }

    @Test func whatIsLongOverIsForgotten() throws {
        let token = try tokens.make(for: "n1", lasting: 60, at: Self.start)
        let later = Self.start + 61 + NodeTokens.memory
        #expect(code(try tokens.redeem(token, for: "n1", key: "a", at: later)) == .expiredToken)
        _ = try tokens.make(for: "n2", lasting: 60, at: later)
        #expect(code(try tokens.redeem(token, for: "n1", key: "a", at: later)) == .unknownToken)
    }
}
