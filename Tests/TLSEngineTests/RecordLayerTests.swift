// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import TLSEngine

/// Records after a handshake: those of RFC 8448, and those that a peer should not send.
@Suite struct RecordLayerTests {
    private static func bytes(_ text: String) -> [UInt8] {
        text.split(whereSeparator: \.isWhitespace).compactMap { UInt8($0, radix: 16) }
    }

    /// RFC 8448 section 3, "Simple 1-RTT Handshake": the application's secrets of client and server.
    private static let clientSecret = bytes(
        """
        9e 40 64 6c e7 9a 7f 9d c0 5a f8 88 9b ce 65 52 87 5a fa 0b 06 df 00 87 f7 92 eb b7 c1 75 04 a5
        """)
    private static let serverSecret = bytes(
        """
        a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32 82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f cb 63 16 43
        """)
    /// The client's first record of the application: the bytes 0 to 49.
    private static let clientRecord = bytes(
        """
        17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f
        2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6
        3a ee bb 21 69 49 15 e4
        """)
    private static let clientText = [UInt8](0..<50)

    /// Keys of TLS_AES_128_GCM_SHA256.
    private static func traffic(_ secret: [UInt8], isSending: Bool) -> TLSTraffic? {
        guard let suite = TLSSuite(id: 0x1301, wide: nil) else { return nil }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: secret.count, alignment: 8)
        defer { memory.deallocate() }
        memory.copyBytes(from: secret)
        guard let start = memory.baseAddress else { return nil }
        return TLSTraffic.make(suite, secret: UnsafeRawPointer(start), isSending: isSending)
    }

    /// One end, and what it makes of bytes.
    private final class End {
        var layer: TLSRecordLayer
        var plain: [UInt8] = []
        /// What it has to send.
        var sent: [UInt8] = []

        init(isServer: Bool) throws {
            let secrets = (RecordLayerTests.serverSecret, RecordLayerTests.clientSecret)
            let (own, peers) = isServer ? secrets : (secrets.1, secrets.0)
            guard let writing = RecordLayerTests.traffic(own, isSending: true),
                let reading = RecordLayerTests.traffic(peers, isSending: false)
            else {
                throw TLSError("make keys", reason: "there is no memory")
            }
            layer = TLSRecordLayer(isServer: isServer, reading: reading, writing: writing)
        }

        /// - Returns: Whether the peer has said its end.
        @discardableResult
        func receive(
            _ bytes: [UInt8], space: Int = 20_000, hasEnded: Bool = false, room: Int = 200
        ) throws -> Bool {
            var (consumed, isOver) = (0, false)
            var buffer = [UInt8](repeating: 0, count: space)
            var output = [UInt8](repeating: 0, count: room)
            var failure: TLSError?
            bytes.withUnsafeBytes { input in
                output.withUnsafeMutableBytes { output in
                    buffer.withUnsafeMutableBytes { buffer in
                        var wire = TLSWire(input: input, inputHasEnded: hasEnded, output: output)
                        do throws(TLSViolation) {
                            while case .transferred(let count) = try layer.read(&wire, into: buffer) {
                                plain += buffer[..<count]
                            }
                            isOver = try layer.read(&wire, into: buffer) == .endOfStream
                        } catch { failure = layer.fail(error, &wire) }
                        consumed = wire.consumed
                        sent += output[..<wire.produced]
                    }
                }
            }
            if let failure { throw failure }
            left = Array(bytes[consumed...])
            return isOver
        }

        /// What `receive` did not use.
        var left: [UInt8] = []

        func close() -> [UInt8] {
            var output = [UInt8](repeating: 0, count: 200)
            let count = output.withUnsafeMutableBytes { output in
                var wire = TLSWire(input: UnsafeRawBufferPointer(start: nil, count: 0), output: output)
                let hasRoom = layer.close(&wire)
                #expect(hasRoom)
                return wire.produced
            }
            return Array(output[..<count])
        }

        func write(_ bytes: [UInt8]) -> [UInt8] {
            var output = [UInt8](repeating: 0, count: bytes.count + 200)
            let count = output.withUnsafeMutableBytes { output in
                bytes.withUnsafeBytes { bytes in
                    var wire = TLSWire(input: UnsafeRawBufferPointer(start: nil, count: 0), output: output)
                    #expect(throws: Never.self) { try layer.write(bytes, to: &wire) }
                    return wire.produced
                }
            }
            return Array(output[..<count])
        }
    }

    /// A client that sends what ends do not send.
    private final class Forger {
        private var traffic: TLSTraffic

        init(asServer: Bool = false) throws {
            let secret = asServer ? RecordLayerTests.serverSecret : RecordLayerTests.clientSecret
            let made = RecordLayerTests.traffic(secret, isSending: true)
            guard let made else { throw TLSError("make keys", reason: "there is no memory") }
            traffic = made
        }

        func record(_ type: UInt8, _ content: [UInt8]) -> [UInt8] {
            var record = [UInt8](repeating: 0, count: content.count + TLSTraffic.overhead)
            record.withUnsafeMutableBytes { space in
                content.withUnsafeBytes { content in
                    let isSealed = traffic.seal(content, type: type, to: space.baseAddress!)
                    #expect(isSealed)
                }
            }
            return record
        }

        func renew() {
            let isRenewed = traffic.renew()
            #expect(isRenewed)
        }
    }

    private func refusal(_ records: [[UInt8]], isServer: Bool = true) throws -> (reason: String, alert: UInt8) {
        let end = try End(isServer: isServer)
        let error = try #require(throws: TLSError.self) { try end.receive(records.flatMap { $0 }) }
        #expect(end.sent.count == 2 + TLSTraffic.overhead)
        // The peer reads why.
        let peer = try End(isServer: !isServer)
        let told = try #require(throws: TLSError.self) { try peer.receive(end.sent) }
        #expect(told.isPeersAlert && peer.sent.isEmpty)
        return (error.reason, try #require(Self.alerts[told.reason]))
    }

    private static let alerts: [String: UInt8] = [
        "sslv3 alert unexpected message": 10, "sslv3 alert bad record mac": 20, "tlsv1 alert record overflow": 22,
        "sslv3 alert illegal parameter": 47, "tlsv1 alert decode error": 50, "tlsv1 alert internal error": 80,
    ]

    // MARK: - What is right

    @Test func rfc8448() throws {
        let server = try End(isServer: true)
        try server.receive(Self.clientRecord)
        #expect(server.plain == Self.clientText)
        let client = try End(isServer: false)
        #expect(client.write(Self.clientText) == Self.clientRecord)
    }

    @Test func noPrefixIsEnough() throws {
        for count in 0..<Self.clientRecord.count {
            let server = try End(isServer: true)
            let front = Array(Self.clientRecord[..<count])
            try server.receive(front)
            #expect(server.plain.isEmpty && server.left == front)
            try server.receive(Self.clientRecord)
            #expect(server.plain == Self.clientText)
            let error = try #require(throws: TLSError.self) {
                try server.receive(Array(Self.clientRecord[..<count]), hasEnded: true)
            }
            #expect(error.reason == "unexpected eof while reading")
        }
    }

    /// However little room there is for what a record has.
    @Test(arguments: [1, 2, 49, 50, 51])
    func whatDoesNotFitIsHeld(_ space: Int) throws {
        let server = try End(isServer: true)
        let client = try Forger()
        try server.receive(client.record(23, Self.clientText) + client.record(23, [7]), space: space)
        #expect(server.plain == Self.clientText + [7] && server.left.isEmpty)
    }

    /// What was in records may be written where they stand, one after another.
    @Test func recordsAreDecryptedInPlace() throws {
        let (server, client) = (try End(isServer: true), try Forger())
        let texts = [1, 100, 16_384, 5].map { count in (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ count) } }
        var memory = texts.flatMap { client.record(23, $0) } + client.record(23, [])
        let count = memory.withUnsafeMutableBytes { memory in
            var count = 0
            var wire = TLSWire(input: UnsafeRawBufferPointer(memory), output: .init(start: nil, count: 0))
            let progress = Result { () throws(TLSViolation) in
                while case .transferred(let read) = try server.layer.read(
                    &wire, into: UnsafeMutableRawBufferPointer(rebasing: memory[count...]))
                { count += read }
            }
            #expect(throws: Never.self) { try progress.get() }
            #expect(wire.consumed == memory.count)
            return count
        }
        #expect(Array(memory[..<count]) == texts.flatMap { $0 })
    }

    /// RFC 8446 section 5.4.
    @Test func padding() throws {
        let (server, client) = (try End(isServer: true), try Forger())
        // A record whose own type is a part of the padding.
        try server.receive(client.record(0, [1, 2, 0, 3, 23, 0, 0, 0]))
        try server.receive(client.record(0, [4, 23]))
        #expect(server.plain == [1, 2, 0, 3, 4])
        #expect(try refusal([Forger().record(0, [0, 0, 0])]).alert == 10)
        let largest = try Forger().record(
            0, [UInt8](repeating: 5, count: 16_000) + [23] + [UInt8](repeating: 0, count: 383))
        let other = try End(isServer: true)
        try other.receive(largest)
        #expect(other.plain.count == 16_000)
    }

    @Test func keyUpdates() throws {
        let (server, client) = (try End(isServer: true), try Forger())
        try server.receive(client.record(22, [24, 0, 0, 1, 0]))
        client.renew()
        try server.receive(client.record(23, [1]) + client.record(22, [24, 0, 0, 1, 1]))
        client.renew()
        try server.receive(client.record(23, [2]))
        #expect(server.plain == [1, 2])
        // One that was asked for, before what comes next, and only once.
        #expect(server.write([9]).count == 27 + 23)
        #expect(server.write([9]).count == 23)
    }

    /// A message may be in several records (RFC 8446 section 5.1); the key changes behind the last.
    @Test(arguments: 1...4)
    func keyUpdatesInTwoRecords(_ front: Int) throws {
        let (server, client) = (try End(isServer: true), try Forger())
        let update: [UInt8] = [24, 0, 0, 1, 1]
        try server.receive(client.record(22, Array(update[..<front])) + client.record(22, Array(update[front...])))
        client.renew()
        try server.receive(client.record(23, [1]))
        #expect(server.plain == [1])
        #expect(server.write([9]).count == 27 + 23)
        // What is left of it may not have company.
        let records = try Forger()
        let two = [records.record(22, Array(update[..<front])), records.record(22, Array(update[front...]) + [24])]
        #expect(try refusal(two).alert == 10)
    }

    /// A server may send some, in pieces of any size (RFC 8446 section 4.6.1).
    @Test(arguments: [1, 2, 3, 5, 30, 1000])
    func ticketsAreNotLookedAt(_ piece: Int) throws {
        let (client, server) = (try End(isServer: false), try Forger(asServer: true))
        let ticket = [4, 0, 0, 20] + [UInt8](repeating: 0xab, count: 20)
        var rest = (ticket + ticket)[...]
        var records: [UInt8] = []
        while !rest.isEmpty {
            records += server.record(22, Array(rest.prefix(piece)))
            rest = rest.dropFirst(piece)
        }
        let count = (2 * ticket.count + piece - 1) / piece
        guard count <= TLSMessages.mostQuietRecords else {
            #expect(throws: TLSError.self) { try client.receive(records) }
            return
        }
        try client.receive(records + server.record(23, [1]))
        #expect(client.plain == [1])
    }

    @Test func endsAndAlerts() throws {
        let server = try End(isServer: true)
        let client = try Forger()
        #expect(try !server.receive(client.record(21, [1, 90])))
        #expect(try server.receive(client.record(23, [1]) + client.record(21, [1, 0])))
        #expect(server.plain == [1])
        // Nothing is read after it, not even what is no record.
        #expect(try server.receive([1, 2, 3, 4, 5, 6]))
        #expect(server.left.count == 6)
        let error = try #require(throws: TLSError.self) {
            try End(isServer: true).receive(Forger().record(21, [2, 48]))
        }
        #expect(error.isPeersAlert && error.reason == "tlsv1 alert unknown ca")
    }

    // MARK: - What is wrong

    @Test func everyChangedByteIsNoticed() throws {
        for index in Self.clientRecord.indices {
            var record = Self.clientRecord
            record[index] ^= 1
            let server = try End(isServer: true)
            // A length that says more waits for the rest.
            do { try server.receive(record) } catch { continue }
            #expect(server.plain.isEmpty && (index == 3 || index == 4), "byte \(index)")
            #expect(throws: TLSError.self, "byte \(index)") {
                try server.receive(record + [UInt8](repeating: 0, count: 300))
            }
        }
    }

    @Test func recordsComeOnceAndInOrder() throws {
        let client = try Forger()
        let records = (0..<3).map { client.record(23, [$0]) }
        #expect(try refusal([records[0], records[0]]).alert == 20)
        #expect(try refusal([records[1]]).alert == 20)
        #expect(try refusal([records[0], records[2]]).alert == 20)
    }

    @Test(
        arguments: [
            // Not encrypted: change_cipher_spec, an alert, a handshake; another version; nothing, or too much, in it.
            ([20, 3, 3, 0, 1, 1], 10), ([21, 3, 3, 0, 2, 1, 0], 10), ([22, 3, 3, 0, 1, 1], 10),
            ([23, 2, 0, 0, 40], 10),
            ([23, 3, 3, 0, 0], 20), ([23, 3, 3, 0, 16], 20), ([23, 3, 3, 0x40, 0x12], 22),
            ([23, 3, 3, 0xff, 0xff], 22),
            ([71, 69, 84, 32, 47], 10),
        ] as [([UInt8], UInt8)])
    func headers(_ bytes: [UInt8], _ alert: UInt8) throws { #expect(try refusal([bytes]).alert == alert) }

    /// Contents of records that are encrypted as they should be.
    @Test(
        arguments: [
            // Types that there are not, and messages that belong to a handshake.
            (20, [1], 10), (24, [1], 10), (22, [], 10), (22, [1, 0, 0, 0], 10), (22, [13, 0, 0, 1, 0], 10),
            (22, [20, 0, 0, 0], 10),
            // A ticket of a client; KeyUpdates of a wrong length, that ask for too much, that do not end their record.
            (22, [4, 0, 0, 0], 10), (22, [24, 0, 0, 0], 50), (22, [24, 0, 0, 2, 0, 0], 50), (22, [24, 0, 0, 1, 2], 47),
            (22, [24, 0, 0, 1, 0, 24, 0, 0, 1, 0], 10),
            (21, [], 50), (21, [1], 50), (21, [1, 0, 0], 50),
        ] as [(UInt8, [UInt8], UInt8)])
    func contents(_ type: UInt8, _ content: [UInt8], _ alert: UInt8) throws {
        #expect(try refusal([Forger().record(type, content)]).alert == alert)
    }

    @Test func aFailureIsToldWhenThereIsRoom() throws {
        let end = try End(isServer: true)
        let record = try Forger().record(24, [1])
        #expect(throws: TLSError.self) { try end.receive(record, room: 10) }
        #expect(end.sent.isEmpty)
        let told = try #require(throws: TLSError.self) { try End(isServer: false).receive(end.close()) }
        #expect(told.isPeersAlert && told.reason == "sslv3 alert unexpected message")
        #expect(end.close().isEmpty)
    }

    @Test func nothingComesAmidAMessage() throws {
        for (type, content) in [(23, [1]), (23, []), (21, [1, 0])] as [(UInt8, [UInt8])] {
            let server = try Forger(asServer: true)
            let records = [server.record(22, [4, 0]), server.record(type, content)]
            #expect(try refusal(records, isServer: false).alert == 10)
            let client = try Forger()
            let update = [client.record(22, [24, 0, 0, 1]), client.record(type, content)]
            #expect(try refusal(update).alert == 10)
        }
        let server = try Forger(asServer: true)
        #expect(try refusal([server.record(22, [4, 2, 0, 1])], isServer: false).alert == 50)
    }

    /// Who sends nothing, and on and on.
    @Test(arguments: [(23, []), (21, [1, 90]), (22, [24, 0, 0, 1, 0])] as [(UInt8, [UInt8])])
    func quietRecordsAreCounted(_ type: UInt8, _ content: [UInt8]) throws {
        let (server, client) = (try End(isServer: true), try Forger())
        for round in 1...100 {
            let record = client.record(type, content)
            if type == 22 { client.renew() }
            // A byte of the application now and then is enough.
            guard round > 50 else {
                try server.receive(record + (round % 30 == 0 ? client.record(23, [1]) : []))
                continue
            }
            do { try server.receive(record) } catch {
                #expect(round == 30 + 1 + TLSMessages.mostQuietRecords)
                return
            }
        }
        Issue.record("a hundred records of nothing were taken")
    }
}
