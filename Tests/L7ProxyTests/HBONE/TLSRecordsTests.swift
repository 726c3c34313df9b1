// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

@Suite struct TLSRecordsTests {
    private static func record(_ body: Int) -> [UInt8] {
        [23, 3, 3, UInt8(body >> 8), UInt8(body & 0xff)] + [UInt8](repeating: 1, count: body)
    }

    private func whole(_ bytes: [UInt8]) -> Int { bytes.withUnsafeBytes { TLSRecords.whole(in: $0) } }

    @Test(arguments: [
        ([], 0), ([23], 0), (record(0), 5), (record(7), 12), (record(7) + record(3), 20), (record(7) + [23, 3], 12),
        (record(16640), 16645),
        // No record is so long, or begins so: OpenSSL is to say it.
        (Array("GET / HTTP/1.1".utf8), 14), ([23, 2, 0, 0, 9], 5), (record(2) + [24, 3, 3, 0, 9], 12),
        ([23, 3, 3, 0x41, 0x01, 9], 6), (record(1) + [23, 3, 3, 0xff, 0xff], 11),
    ])
    func ends(_ bytes: [UInt8], _ end: Int) { #expect(whole(bytes) == end) }

    @Test func everyPrefix() {
        let bytes = Self.record(3) + Self.record(0) + Self.record(40)
        for count in 0...bytes.count {
            let expected = count < 8 ? 0 : count < 13 ? 8 : count < bytes.count ? 13 : bytes.count
            #expect(whole(Array(bytes[..<count])) == expected, "\(count) bytes")
        }
    }
}
