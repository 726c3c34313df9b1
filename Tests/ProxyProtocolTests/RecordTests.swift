// SPDX-License-Identifier: Apache-2.0

import MeshModel
import ProxyProtocol
import TestSupport
import Testing

struct RecordTests {
    @Test func whatIsWrittenIsReadAgain() throws {
        var records = RandomRecords(seed: 1)
        for _ in 0..<2000 {
            let record = records.record()
            let wire = record.wire
            let read = try ProxyRecord(record.key, wire)
            #expect(read == record)
            // Texts that are equal to Swift may differ in bytes, and an origin is part of no comparison.
            #expect(read.wire == wire)
        }
    }

    /// No record that is cut is taken for another one.
    @Test func noPrefixOfARecordIsOne() {
        var records = RandomRecords(seed: 2)
        for _ in 0..<60 {
            let record = records.record()
            let wire = record.wire
            for length in 0..<wire.count {
                #expect(throws: WireError.self, "\(record.key) cut to \(length) of \(wire.count)") {
                    try ProxyRecord(record.key, Array(wire[..<length]))
                }
            }
            #expect(throws: WireError.self) { try ProxyRecord(record.key, wire + [0]) }
        }
    }

    /// What is accepted has one encoding, whatever bit was changed on the way.
    @Test func whatIsAcceptedIsWrittenAsItCame() {
        var records = RandomRecords(seed: 3)
        for _ in 0..<3000 {
            let record = records.record()
            var wire = record.wire
            for _ in 0..<Int.random(in: 1...3, using: &records.random) {
                wire[Int.random(in: 0..<wire.count, using: &records.random)] ^=
                    1 << UInt8.random(in: 0..<8, using: &records.random)
            }
            let again: [UInt8]? =
                switch record {
                case .service: (try? ServiceRecord(wire: wire))?.wire
                case .workload: (try? WorkloadRecord(wire: wire))?.wire
                case .route: (try? MeshRoute(wire: wire))?.wire
                case .referenceGrant: (try? ReferenceGrant(wire: wire))?.wire
                case .authorizationPolicy: (try? AuthorizationRecord(wire: wire))?.wire
                case .destination: (try? DestinationRecord(wire: wire))?.wire
                case .node: (try? NodeRecord(wire: wire))?.wire
                case .remotePod: (try? RemotePodRecord(wire: wire))?.wire
                case .verdicts: (try? VerdictRecord(wire: wire))?.wire
                case .verdictUse: (try? VerdictUseRecord(wire: wire))?.wire
                }
            if let again { #expect(again == wire) }
        }
    }

    @Test func aRecordUnderTheWrongNameIsRefused() throws {
        let record = ServiceRecord(service: NamespacedName(namespace: "shop", name: "web"), port: 80)
        #expect(record.key == RecordKey(.service, "shop/web:80"))
        #expect(throws: WireError(offset: 0, "the record is service shop/web:80")) {
            try ProxyRecord(RecordKey(.service, "shop/web:81"), record.wire)
        }
        #expect(throws: WireError(offset: 0, "records of kind 99 are not known to this version")) {
            try ProxyRecord(RecordKey(RecordKind(rawValue: 99), "shop/web"), [])
        }
    }

    @Test func aConfigurationWithAnUnreadableRecordIsRefusedWhole() throws {
        let service = ServiceRecord(service: NamespacedName(namespace: "shop", name: "web"), port: 80)
        var state = ConfigurationState(generation: 3, [.service(service)])
        #expect(try ProxyConfiguration(state).services == [service])
        state.records[RecordKey(.route, "HTTPRoute shop/web")] = [9]
        let error = #expect(throws: RecordError.self) { try ProxyConfiguration(state) }
        #expect(error?.description == "route HTTPRoute shop/web: 9 is no case of MeshRoute, at byte 1")
    }

    static let tables: [(segments: [(UInt16, UInt16)], identities: [[UInt32]], defect: String?)] = [
        ([(0, 0), (80, 1)], [[], [1, 300]], nil),
        ([], [[]], "do not begin at 0"),
        ([(1, 0)], [[]], "do not begin at 0"),
        ([(0, 0), (80, 0), (80, 0)], [[]], "out of order"),
        ([(0, 0), (80, 1)], [[]], "a class that is not there"),
        ([(0, 0)], [[300, 1]], "identities of a table are out of order"),
        ([(0, 0)], [[1, 1]], "identities of a table are out of order"),
    ]

    /// A look-up in a table that is none would read beyond it, or miss an exception.
    @Test(arguments: tables) func tablesOfPortsAreChecked(
        segments: [(UInt16, UInt16)], identities: [[UInt32]], defect: String?
    ) throws {
        let table = PortTable(
            segments: segments.map { .init(firstPort: $0.0, portClass: $0.1, verdict: .allow) },
            exceptions: identities.map { list in
                list.map { .init(identity: IdentityNumber(rawValue: $0), verdict: .deny) }
            })
        guard let defect else {
            #expect(try PortTable(wire: table.wire) == table)
            return
        }
        let error = #expect(throws: WireError.self) { try PortTable(wire: table.wire) }
        #expect(error?.description.contains(defect) == true, "\(error as Any)")
    }

    // MARK: - Primitives

    static let texts: [(bytes: [UInt8], text: String?)] = [
        ([0, 0, 0, 0], ""),
        ([1, 0, 0, 0, 0x61], "a"),
        ([2, 0, 0, 0, 0xc3, 0xa9], "é"),
        ([1, 0, 0, 0, 0xc3], nil),
        ([2, 0, 0, 0, 0xc0, 0x80], nil),
        ([2, 0, 0, 0, 0x61], nil),
        ([0xff, 0xff, 0xff, 0xff, 0x61], nil),
        ([1, 0, 0], nil),
        ([], nil),
    ]

    @Test(arguments: texts) func textsAreUTF8(bytes: [UInt8], text: String?) {
        #expect((try? String(wire: bytes)) == text)
    }

    @Test func numbersAreLittleEndian() throws {
        #expect((0x0102_0304 as UInt32).wire == [4, 3, 2, 1])
        #expect(try Int64(wire: (-2 as Int64).wire) == -2)
        #expect(throws: WireError.self) { try Bool(wire: [2]) }
        #expect(throws: WireError.self) { try UInt16(wire: [1]) }
    }

    @Test func tablesHaveOneOrder() throws {
        let table = ["b": "2", "a": "1", "ab": "3"]
        let wire = table.wire
        #expect(try [String: String](wire: wire) == table)
        func pair(_ key: String, _ value: String) -> [UInt8] { key.wire + value.wire }
        #expect(wire == [3, 0, 0, 0] + pair("a", "1") + pair("ab", "3") + pair("b", "2"))
        for wrong in [
            pair("b", "2") + pair("a", "1"), pair("a", "1") + pair("a", "1"), pair("e\u{301}", "") + pair("é", ""),
        ] {
            #expect(throws: WireError.self) { try [String: String](wire: [2, 0, 0, 0] + wrong) }
        }
    }
}
