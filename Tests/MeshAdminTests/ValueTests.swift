// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import MeshAdmin

@Suite struct TimestampTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
        ] as [(Int64, String)])
    func isWrittenInUTC(nanoseconds: Int64, text: String) {
        #expect(Timestamp(nanoseconds: nanoseconds).description == text)
        if nanoseconds >= 0 { #expect(Timestamp(text)?.nanoseconds == nanoseconds) }
    }

    @Test func shorterFractionsAreRead() {
        #expect(Timestamp("1970-01-01T00:00:01Z")?.nanoseconds == 1_000_000_000)
        #expect(Timestamp("1970-01-01T00:00:01.5Z")?.nanoseconds == 1_500_000_000)
    }

    @Test(arguments: [
        "", "Z", "now", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01 00:00:00Z", "1970-13-01T00:00:00Z",
        "1970-01-01T24:00:00Z", "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00.1234567890Z", "1970-01-01T00:00:00+01:00",
        "19x0-01-01T00:00:00Z",
    ])
    func otherTextIsRefused(text: String) {
        #expect(Timestamp(text) == nil)
    }
}

@Suite struct EndSelectorTests {
    static let pod = EndReport(workload: "shop/web", address: "10.1.2.3", port: 80)
    static let outside = EndReport(address: "fd00:1::7", port: 80)

    @Test(arguments: [
        ("shop", true, false), ("sho", false, false), ("shop/web", true, false), ("shop/we", false, false),
        ("10.1.2.3", true, false), ("10.1.2.4", false, false), ("10.0.0.0/8", true, false),
        ("10.1.2.0/31", false, false), ("10.1.2.2/31", true, false), ("0.0.0.0/0", true, false),
        ("fd00:1::/32", false, true), ("::/0", true, true), ("fd00:1::7", false, true),
        ("::ffff:10.1.2.3", true, false),
    ])
    func selects(text: String, pod: Bool, outside: Bool) throws {
        let selector = try EndSelector(text)
        #expect(selector.matches(Self.pod) == pod)
        #expect(selector.matches(Self.outside) == outside)
    }

    @Test(arguments: ["shop", "shop/web", "10.1.2.3", "10.0.0.0/8", "fd00:1::/32", "fd00::1", "::/0", "0.0.0.0/0"])
    func isWrittenAsItWasRead(text: String) throws {
        #expect(try EndSelector(text).description == text)
    }

    @Test(arguments: [
        "", "/", "a/", "/b", "a/b/c", "Shop", "a b", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/-1",
    ])
    func otherTextIsRefusedWithAHint(text: String) {
        let error = #expect(throws: AdminError.self) { try EndSelector(text) }
        #expect(error?.code == .invalidRequest)
        #expect(error?.hint != nil)
    }
}

@Suite struct FlowFilterTests {
    static let event = FlowEvent(
        time: Timestamp(nanoseconds: 0), kind: .denied, protocol: "TCP",
        source: EndReport(workload: "shop/web", address: "10.0.0.1", port: 4000),
        destination: EndReport(workload: "shop/db-1", address: "10.0.0.2", port: 5432),
        serviceAddress: ServiceAddressReport(service: "data/db", address: "10.96.0.9", port: 5432),
        direction: .egress, generation: 3)

    @Test func everythingAbsentSelectsEverything() {
        #expect(FlowFilter().matches(Self.event))
    }

    @Test func theDestinationMayBeNamedByItsService() throws {
        #expect(FlowFilter(to: try EndSelector("shop/db-1")).matches(Self.event))
        #expect(FlowFilter(to: try EndSelector("data/db")).matches(Self.event))
        #expect(FlowFilter(to: try EndSelector("10.96.0.0/16")).matches(Self.event))
        #expect(!FlowFilter(to: try EndSelector("data/other")).matches(Self.event))
        #expect(!FlowFilter(from: try EndSelector("data/db")).matches(Self.event))
    }

    @Test func allPartsMustAgree() throws {
        let from = try EndSelector("shop")
        #expect(FlowFilter(from: from, verdict: .denied).matches(Self.event))
        #expect(!FlowFilter(from: from, verdict: .allowed).matches(Self.event))
        var cut = Self.event
        cut.kind = .cut
        #expect(FlowFilter(verdict: .denied).matches(cut))
    }
}
