// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import TLSEngine

/// What makes records in place of OpenSSL's ciphers makes the same, and refuses the same.
@Suite struct RecordCipherTests {
    private static let suites: [UInt16] = [0x1301, 0x1302]
    /// Whole blocks and parts of them, as many as it does at a time and one more or less, the longest record.
    private static let lengths = Array(0...800) + [1023, 1024, 1025, 4095, 4096, 4097, 12288, 16368, 16383, 16384]

    private static func gcm() throws -> WideGCM {
        switch WideGCM.loaded {
        case .success(let gcm): return gcm
        case .failure(let absence): throw TLSError("load intel-ipsec-mb", reason: absence.reason)
        }
    }

    /// One end of one direction.
    private final class End {
        private var traffic: TLSTraffic

        init(_ id: UInt16, _ gcm: WideGCM?, isSending: Bool) throws {
            let suite = try #require(TLSSuite(id: id, wide: gcm))
            let secret = UnsafeMutableRawBufferPointer.allocate(byteCount: suite.secretBytes, alignment: 8)
            defer { secret.deallocate() }
            for place in secret.indices { secret[place] = UInt8(place &* 5 &+ 3) }
            guard let start = secret.baseAddress,
                let made = TLSTraffic.make(suite, secret: start, isSending: isSending)
            else { throw TLSError("make keys", reason: "there is no memory") }
            traffic = made
        }

        func rest() { traffic.rest() }

        func renew() -> Bool { traffic.renew() }

        func seal(_ content: [UInt8]) -> [UInt8] {
            var record = [UInt8](repeating: 0xee, count: content.count + TLSTraffic.overhead + 1)
            let isDone = content.withUnsafeBytes { content in
                record.withUnsafeMutableBytes { record in
                    record.baseAddress.map { traffic.seal(content, type: 23, to: $0) } ?? false
                }
            }
            #expect(isDone)
            #expect(record.last == 0xee, "something was written behind the record")
            return Array(record.dropLast())
        }

        /// Decrypts a record into other memory, which has no room for its last byte.
        ///
        /// - Returns: What was in it; `nil` if it was refused.
        func openElsewhere(_ record: [UInt8]) -> [UInt8]? {
            let count = record.count - TLSTraffic.overhead
            var space = [UInt8](repeating: 0xee, count: count + 1)
            let type = record.withUnsafeBytes { record in
                space.withUnsafeMutableBytes { space in space.baseAddress.flatMap { traffic.open(record, to: $0) } }
            }
            #expect(space.last == 0xee, "something was written behind the content")
            return type == 23 ? Array(space[..<count]) : nil
        }

        /// The same in the record's own place, as connections do.
        func open(_ record: [UInt8]) -> [UInt8]? {
            var memory = record
            let type = memory.withUnsafeMutableBytes { memory in
                memory.baseAddress.flatMap {
                    traffic.open(UnsafeRawBufferPointer(memory), to: $0 + TLSTraffic.headerBytes)
                }
            }
            guard let type else { return nil }
            #expect(type == 23)
            return Array(memory[TLSTraffic.headerBytes..<(record.count - TLSTraffic.tagBytes - 1)])
        }
    }

    @Test(arguments: suites) func theSameAsOpenSSLsForEachLength(id: UInt16) throws {
        let gcm = try Self.gcm()
        let (ours, theirs) = (try End(id, gcm, isSending: true), try End(id, nil, isSending: true))
        let receivers = [try End(id, gcm, isSending: false), try End(id, nil, isSending: false)]
        let elsewhere = try End(id, gcm, isSending: false)
        var numbers = SystemRandomNumberGenerator()
        for length in Self.lengths {
            let content = (0..<length).map { _ in UInt8.random(in: 0...255, using: &numbers) }
            let record = ours.seal(content)
            #expect(record == theirs.seal(content), "\(length) bytes")
            for receiver in receivers { #expect(receiver.open(record) == content, "\(length) bytes") }
            #expect(elsewhere.openElsewhere(record) == content, "\(length) bytes")
            // As after each use of a connection where hardly anything moves.
            if length % 64 == 0 {
                ours.rest()
                receivers[0].rest()
            }
        }
    }

    @Test(arguments: suites) func aRecordWithAnyBitChangedIsRefused(id: UInt16) throws {
        let gcm = try Self.gcm()
        for length in [0, 1, 15, 16, 70] {
            let record = try End(id, gcm, isSending: true).seal([UInt8](repeating: 7, count: length))
            for bit in 0..<(record.count * 8) {
                var changed = record
                changed[bit / 8] ^= 1 << (bit % 8)
                let opened = try End(id, gcm, isSending: false).open(changed)
                let elsewhere = try End(id, gcm, isSending: false).openElsewhere(changed)
                #expect(opened == nil && elsewhere == nil, "bit \(bit) of a record of \(length) bytes")
            }
            let opened = try End(id, gcm, isSending: false).open(record)
            #expect(opened != nil)
        }
    }

    @Test func aRecordIsRefusedInTheWrongPlaceAndWithAnotherKey() throws {
        let gcm = try Self.gcm()
        let (sender, receiver) = (try End(0x1301, gcm, isSending: true), try End(0x1301, gcm, isSending: false))
        let (first, second) = (sender.seal([1, 2, 3]), sender.seal([4, 5, 6]))
        // Each takes a number, as it is read.
        #expect(receiver.open(second) == nil)
        #expect(receiver.open(second) == [4, 5, 6])
        #expect(receiver.open(first) == nil)
        #expect(sender.renew())
        let third = sender.seal([7])
        let old = try End(0x1301, gcm, isSending: false)
        #expect(old.open(third) == nil)
        #expect(receiver.renew())
        #expect(receiver.open(third) == [7])
    }

    @Test func chachaStaysOpenSSLs() throws {
        let suite = try #require(TLSSuite(id: 0x1303, wide: Self.gcm()))
        #expect(suite.wide == nil)
    }

    @Test func itIsUsedWhereOpenSSLHasNothingAsFastAndNobodyHasChosenAnother() throws {
        let gcm = try Self.gcm()
        func absence(
            _ found: Result<WideGCM, WideGCM.Absence>, version: UInt = 0x3000_0130, isItsOwn: Bool = true,
            isWide: Bool = true
        ) -> WideGCM.Absence? {
            switch WideGCM.choose(openSSL: version, isItsOwn: isItsOwn, isWideProcessor: isWide, { found }) {
            case .success: nil
            case .failure(let absence): absence
            }
        }
        if gcm.isWide {
            #expect(absence(.success(gcm)) == nil)
        } else {
            #expect(absence(.success(gcm))?.reason.contains("nothing wider") == true)
        }
        let none = absence(.failure(.init(reason: "there is none", isMissing: true)))
        #expect(none?.reason == "there is none" && none?.isMissing == true)
        let others = [
            (absence(.success(gcm), version: 0x3010_0000), "since 3.1"),
            (absence(.success(gcm), isItsOwn: false), "another provider"),
            (absence(.success(gcm), isWide: false), "the processor"),
        ]
        for (absence, reason) in others {
            #expect(absence?.reason.contains(reason) == true && absence?.isMissing == false, "\(reason)")
        }
    }
}
