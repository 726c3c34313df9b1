// SPDX-License-Identifier: Apache-2.0

import Identity
import TLSEngine
import Testing

/// Certificates that their issuers have taken back, by lists of another library (`Fixtures/make_svids.py`).
@Suite struct RevocationTests {
    private let domain: TrustDomain
    private let web: SPIFFEID

    init() throws {
        domain = try TrustDomain("mesh.test")
        web = try SPIFFEID(domain, namespace: "shop", serviceAccount: "web")
    }

    private func der(_ name: String) throws -> [[UInt8]] {
        let found = try #require(SVIDMatrixTests.chains[name])
        try #require(!found.isEmpty)
        return found
    }

    private func verdict(_ chain: String, _ lists: [String]) throws -> Result<SPIFFEID, SVIDRejection> {
        let bundles = try TrustBundles(
            [domain: der("bundle of mesh.test")], revocations: [domain: lists.flatMap { try der($0) }])
        return SVIDVerifier.verify(
            chain: try der(chain), usage: .client, at: SVIDMatrixTests.time, trusting: bundles,
            expecting: .anyOf([web]))
    }

    @Test(arguments: [
        ("taken back", "list of the intermediate", 0), ("taken back", "list that is out of date", 0),
        ("below what is taken back", "list of the root", 1),
    ])
    func isRevoked(_ chain: String, _ list: String, _ depth: Int) throws {
        let serial = try Certificate(der: der(chain)[depth]).serial
        #expect(try verdict(chain, [list]) == .failure(.revoked(serial: serial, depth: depth)))
        let other = "list of another issuer"
        #expect(try verdict(chain, [other, list]) == .failure(.revoked(serial: serial, depth: depth)))
        #expect(try verdict(chain, [other]) == .success(web))
    }

    @Test(arguments: [
        ("taken back", "list that takes nothing back"), ("taken back", "list of the root"),
        // Not signed by the issuer whose name it has; of an issuer that is none of this certificate's.
        ("workload", "list that is forged"), ("workload", "list of another issuer"),
        ("workload", "list of the intermediate"), ("below what is taken back", "list of the intermediate"),
    ])
    func isNotRevoked(_ chain: String, _ list: String) throws {
        #expect(try verdict(chain, [list]) == .success(web))
    }

    /// Of another trust domain's authorities lists say nothing here.
    @Test func listsAreOfTheirTrustDomain() throws {
        let bundles = try TrustBundles(
            [domain: der("bundle of mesh.test")],
            revocations: [try TrustDomain("other.test"): der("list of the intermediate")])
        let result = SVIDVerifier.verify(
            chain: try der("taken back"), usage: .server, at: SVIDMatrixTests.time, trusting: bundles,
            expecting: .anyOf([web]))
        #expect(result == .success(web))
    }

    @Test func aListThatCannotBeReadIsNamed() throws {
        let list = try der("list of the intermediate")[0]
        func error(_ lists: [[UInt8]]) throws -> String {
            let error = try #require(throws: TLSError.self) { try TrustBundles([:], revocations: [domain: lists]) }
            return error.description
        }
        #expect(try error([list, [1, 2, 3]]).hasPrefix("read the revocation lists of mesh.test: list 2: "))
        #expect(try error([list + [0]]) == "read the revocation lists of mesh.test: list 1: 1 bytes follow it")
        #expect(
            try error([[UInt8]](repeating: list, count: 65))
                == "read the revocation lists of mesh.test: they are 65; the limit is 64")
        let large = [UInt8](repeating: 0, count: (512 << 10) + 1)
        #expect(try error([large]).hasSuffix("list 1: it has \(large.count) bytes; the limit is 524288"))
        for length in 0..<list.count { #expect(try error([Array(list[..<length])]).contains("list 1")) }
    }

    @Test func itSaysWhichOne() {
        let error = SVIDRejection.revoked(serial: "4A01", depth: 0)
        #expect(
            error.description
                == "the certificate with the serial number 4A01 is revoked (certificate 0 of the chain, 0 is the leaf)")
    }
}
