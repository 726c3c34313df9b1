// SPDX-License-Identifier: Apache-2.0

import Identity
import TLSEngine
import Testing

@Suite struct SessionTests {
    /// However the bytes are cut, and however little room there is.
    @Test(arguments: [1, 2, 5, 100, 1000, Int.max], [1, 50, 1 << 16])
    func handshake(_ piece: Int, _ room: Int) throws {
        let mesh = try TestMesh()
        let pair = try SessionPair(mesh, piece: piece)
        (pair.client.room, pair.server.room) = (room, room)
        #expect(pair.client.session.peer == nil)
        try pair.handshake()
        #expect(pair.client.session.peer == (try mesh.id("db")))
        #expect(pair.server.session.peer == (try mesh.id("web")))
        for end in [pair.client, pair.server] {
            let agreement = end.session.agreement
            #expect(agreement.version == "TLSv1.3")
            #expect(agreement.cipherSuite == "TLS_AES_128_GCM_SHA256")
            #expect(agreement.group?.lowercased() == "x25519")
        }
        // No ticket follows: there is no resumption.
        #expect(pair.client.input.isEmpty)
        #expect(try pair.server.read().isEmpty)
    }

    @Test(arguments: [119, 200, 1 << 16])
    func bytesArriveInOrder(_ room: Int) throws {
        let pair = try SessionPair(TestMesh())
        try pair.handshake()
        (pair.client.room, pair.server.room) = (room, room)
        for count in [1, 20, 16384, 16385, 100_000] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ count) }
            pair.server.input += try pair.client.write(bytes)
            #expect(try pair.server.read().isEmpty)
            #expect(pair.server.plain == bytes)
            pair.client.input += try pair.server.write(pair.server.plain)
            #expect(try pair.client.read().isEmpty)
            #expect(pair.client.plain == bytes)
            (pair.client.plain, pair.server.plain) = ([], [])
        }
    }

    /// A record is begun only if all of it has room.
    @Test func aRecordIsNeverHalfWritten() throws {
        let pair = try SessionPair(TestMesh())
        try pair.handshake()
        let bytes = [UInt8](repeating: 7, count: 20_000)
        for room in [0, 1, 21, 22, 95, 96, 97, 1000, 16_384 + 22, 40_000] {
            var output = [UInt8](repeating: 0, count: room)
            try output.withUnsafeMutableBytes { space in
                var wire = TLSWire(input: UnsafeRawBufferPointer(start: nil, count: 0), output: space)
                let progress = try bytes.withUnsafeBytes { try pair.client.session.write(&wire, $0) }
                if room <= 96 {
                    #expect(progress == .needsOutput)
                    #expect(wire.produced == 0)
                } else {
                    let count = min(room - 96, 16_384)
                    #expect(progress == .transferred(count))
                    #expect(wire.produced == count + TLSSession.recordOverhead)
                }
                pair.server.input += space[..<wire.produced]
            }
        }
        #expect(try pair.server.read().isEmpty)
        #expect(pair.server.plain.allSatisfy { $0 == 7 })
    }

    /// What was in records may stand where they stood, whatever their sizes, with KeyUpdates between them.
    @Test func recordsAreReadInPlace() throws {
        let pair = try SessionPair(TestMesh(), recordsPerKey: 3)
        try pair.handshake()
        var (wire, plain): ([UInt8], [UInt8]) = ([], [])
        for count in [16384, 1, 16384, 2, 300, 16384, 5000, 40_000, 1] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ count &+ $0 >> 8) }
            wire += try pair.client.write(bytes)
            plain += bytes
        }
        try wire.withUnsafeMutableBytes { memory in
            var lent = TLSWire(input: UnsafeRawBufferPointer(memory), output: .init(start: nil, count: 0))
            var count = 0
            while lent.consumed < memory.count {
                let space = UnsafeMutableRawBufferPointer(rebasing: memory[count...])
                guard case .transferred(let read) = try pair.server.session.read(&lent, into: space) else { break }
                count += read
                #expect(count < lent.consumed)
            }
            #expect(lent.consumed == memory.count && memory[..<count].elementsEqual(plain))
        }
    }

    @Test func eachDirectionEndsAlone() throws {
        let pair = try SessionPair(TestMesh())
        try pair.handshake()
        pair.server.input += try pair.client.write([1, 2, 3]) + pair.client.close()
        _ = try pair.server.read()
        #expect(pair.server.plain == [1, 2, 3])
        #expect(pair.server.hasEnded)
        // The other direction goes on.
        pair.client.input += try pair.server.write([4, 5]) + pair.server.close()
        _ = try pair.client.read()
        #expect(pair.client.plain == [4, 5])
        #expect(pair.client.hasEnded)
    }

    @Test func anEndWithoutANoticeIsAnError() throws {
        let pair = try SessionPair(TestMesh())
        try pair.handshake()
        pair.server.input += try pair.client.write([1, 2, 3])
        pair.server.inputHasEnded = true
        let error = try #require(throws: TLSError.self) { _ = try pair.server.read() }
        #expect(pair.server.plain == [1, 2, 3])
        #expect(error.description == "read: unexpected eof while reading")
        #expect(!error.isPeersAlert)
    }

    @Test func keysAreRenewed() throws {
        let pair = try SessionPair(TestMesh(), recordsPerKey: 3)
        try pair.handshake()
        var sizes: [Int] = []
        for index in 0..<40 {
            let sent = try pair.client.write([UInt8(index)])
            sizes.append(sent.count)
            pair.server.input += sent
            pair.client.input += try pair.server.read()
            _ = try pair.client.read()
        }
        #expect(pair.server.plain == Array(0..<40))
        // Every third record is preceded by a KeyUpdate of 27 bytes.
        #expect(sizes.filter { $0 == 23 }.count == 27)
        #expect(sizes.filter { $0 == 50 }.count == 13)
    }

    @Test func thePeerRenewsItsKeyWhenAsked() throws {
        let pair = try SessionPair(TestMesh())
        try pair.handshake()
        pair.client.session.renewKey(askingPeer: true)
        pair.server.input += try pair.client.write([1])
        #expect(try pair.server.read().isEmpty)
        // Its own KeyUpdate, of 27 bytes, goes before what it sends next.
        let answer = try pair.server.write([2])
        #expect(answer.count == 27 + 23)
        pair.client.input += answer
        _ = try pair.client.read()
        #expect(pair.server.plain == [1])
        #expect(pair.client.plain == [2])
    }

    @Test func fipsProfile() throws {
        let pair = try SessionPair(TestMesh(), profile: .fips)
        try pair.handshake()
        #expect(pair.client.session.agreement.group == "secp256r1")
    }

    /// Either this OpenSSL has it, or it says so.
    @Test func postQuantumProfile() throws {
        do {
            let pair = try SessionPair(TestMesh(), profile: .postQuantum)
            try pair.handshake()
            #expect(pair.client.session.agreement.group == "X25519MLKEM768")
        } catch let error as TLSError {
            #expect(error.operation == "choose groups X25519MLKEM768")
            #expect(!TLSLibrary.version.contains("OpenSSL 3.5"))
        }
    }

    @Test func profilesThatDoNotMeetAreRefused() throws {
        let mesh = try TestMesh()
        let client = try TestEnd(
            mesh.context(.client, mesh.svid("web"), profile: .fips), expecting: .memberOf(mesh.domain))
        let other = TLSProfile(groups: "X25519", cipherSuites: TLSProfile.standard.cipherSuites)
        let server = try TestEnd(
            mesh.context(.server, mesh.svid("db"), profile: other), expecting: .memberOf(mesh.domain))
        let error = try #require(throws: TLSError.self) { try SessionPair(client, server).handshake() }
        #expect(error.reason == "no suitable key share")
    }

    @Test func whatTheLibraryDoesNotHaveIsNamed() throws {
        let mesh = try TestMesh()
        for (profile, operation) in [
            (
                TLSProfile(groups: "X25519:nonsense", cipherSuites: "TLS_AES_128_GCM_SHA256"),
                "choose groups X25519:nonsense"
            ),
            (TLSProfile(groups: "X25519", cipherSuites: "AES128-SHA"), "choose cipher suites AES128-SHA"),
            // OpenSSL has it; records are ours.
            (
                TLSProfile(groups: "X25519", cipherSuites: "TLS_AES_128_CCM_SHA256"),
                "choose cipher suites TLS_AES_128_CCM_SHA256"
            ),
            (
                TLSProfile(groups: "X25519", cipherSuites: "TLS_AES_128_GCM_SHA256", signatures: "nonsense"),
                "choose signatures nonsense"
            ),
        ] {
            let error = try #require(throws: TLSError.self) {
                _ = try mesh.context(.client, mesh.svid("web"), profile: profile)
            }
            #expect(error.operation == operation)
        }
    }

    // MARK: - While it lives

    @Test func buffersThatWereReleased() throws {
        let pair = try SessionPair(TestMesh())
        try pair.handshake()
        for round in 0..<3 {
            let text = Array("round \(round)".utf8)
            pair.server.input += try pair.client.write(text)
            _ = try pair.server.read()
            #expect(pair.server.plain == text)
            pair.server.plain = []
            pair.client.session.releaseBuffers()
            pair.server.session.releaseBuffers()
        }
    }

    @Test func peersByOtherBundles() throws {
        let mesh = try TestMesh()
        let pair = try SessionPair(mesh)
        try pair.handshake()
        let other = try TestMesh("mesh.test", alsoTrusting: [mesh])
        let stranger = try TestMesh("mesh.test")
        for end in [pair.client, pair.server] {
            #expect(end.session.peerRejection(trusting: VerifiedPeers(mesh.bundles)) == nil)
            #expect(end.session.peerRejection(trusting: VerifiedPeers(other.bundles)) == nil)
            #expect(end.session.peerRejection(trusting: VerifiedPeers(stranger.bundles)) != nil)
        }
    }
}
