// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import ProxyProtocol
import Testing

struct IdentityTransferTests {
    static let keys: [[UInt8]] = [[7, 7, 7], Array(repeating: 9, count: 300)]
    static let transfer = IdentityTransfer(
        trust: TrustRecord([
            .init(name: "b.test", roots: [[1, 2], [3]], revocations: [[4]]), .init(name: "a.test", roots: []),
        ]), removed: ["spiffe://a.test/ns/shop/sa/gone"],
        identities: [
            .init(id: "spiffe://a.test/ns/shop/sa/web", chain: [[5, 6], [7]], keyBytes: 3),
            .init(id: "spiffe://a.test/ns/shop/sa/db", chain: [], keyBytes: 300),
        ])

    static var file: [UInt8] { transfer.wire + keys.joined() }

    private static func read(_ bytes: [UInt8]) throws -> (transfer: IdentityTransfer, keys: [Range<Int>]) {
        var result: Result<(transfer: IdentityTransfer, keys: [Range<Int>]), WireError>?
        bytes.withUnsafeBytes { bytes in
            result = Result { () throws(WireError) in try IdentityTransfer.read(bytes) }
        }
        return try #require(result).get()
    }

    private static func refusal(_ bytes: [UInt8]) -> String? {
        do {
            _ = try read(bytes)
            return nil
        } catch { return (error as? WireError)?.reason ?? "\(error)" }
    }

    @Test func whatIsWrittenIsReadAgain() throws {
        let memory = try MemoryFile.make("test")
        try Self.transfer.write(to: memory) { (index, take) throws(SystemError) in
            var failure: SystemError?
            Self.keys[index].withUnsafeBytes { key in
                do throws(SystemError) { try take(key) } catch { failure = error }
            }
            if let failure { throw failure }
        }
        let file = try MemoryFile.read(memory, atMost: 10_000)
        #expect(file == Self.file)
        let (transfer, keys) = try Self.read(file)
        #expect(transfer == Self.transfer)
        #expect(keys.map { Array(file[$0]) } == Self.keys)
        #expect(transfer.trust?.domains.map(\.name) == ["a.test", "b.test"])
        MemoryFile.wipe(memory)
        #expect(try MemoryFile.read(memory, atMost: 10_000).isEmpty)
    }

    @Test func noPrefixIsAFile() {
        let file = Self.file
        for length in 0..<file.count { #expect(Self.refusal(Array(file[..<length])) != nil, "\(length)") }
        #expect(Self.refusal(file + [0]) == "1 bytes too many")
    }

    @Test func whatIsAcceptedIsWrittenAsItCame() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<3000 {
            var file = Self.file
            file[Int.random(in: 0..<file.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            guard let (transfer, keys) = try? Self.read(file) else { continue }
            #expect(transfer.wire == Array(file[..<transfer.wire.count]))
            #expect(keys.last?.upperBound ?? transfer.wire.count == file.count)
        }
    }

    @Test func whatContradictsItselfIsRefused() {
        let web = Self.transfer.identities[0]
        #expect(
            Self.refusal(IdentityTransfer(identities: [web, web]).wire + [1, 2, 3, 1, 2, 3])
                == "an identity occurs twice")
        #expect(
            Self.refusal(IdentityTransfer(removed: [web.id], identities: [web]).wire + [1, 2, 3])
                == "an identity occurs twice")
        var empty = web
        empty.keyBytes = 0
        #expect(Self.refusal(IdentityTransfer(identities: [empty]).wire) == "a key of 0 bytes")
        var large = web
        large.keyBytes = 16385
        #expect(Self.refusal(IdentityTransfer(identities: [large]).wire) == "a key of 16385 bytes")
        #expect(Self.refusal([1, 2, 3, 4]) == "not identities")
        let domains = [TrustRecord.Domain(name: "b", roots: []), .init(name: "a", roots: [])]
        #expect(throws: WireError.self) { try TrustRecord(wire: domains.wire) }
        #expect(throws: WireError.self) { try TrustRecord(wire: [domains[0], domains[0]].wire) }
    }
}
