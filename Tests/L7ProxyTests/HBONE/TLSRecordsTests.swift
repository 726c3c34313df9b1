// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

@Suite struct TLSRecordsTests {
    private static func record(_ body: Int) -> [UInt8] {
        [23, 3, 3, UInt8(body >> 8), UInt8(body & 0xff)] + [UInt8](repeating: 1, count: body)
    }

    private func whole(_ bytes: [UInt8]) -> Int { bytes.withUnsafeBytes { TLSRecords.whole(in: $0) } }

    /// Bytes, and where the last whole record of them ends.
    private static let cases: [(bytes: [UInt8], end: Int)] = {
        var cases: [(bytes: [UInt8], end: Int)] = [([], 0), ([23], 0), (record(0), 5), (record(7), 12)]
        cases.append((record(7) + record(3), 20))
        cases.append((record(7) + [23, 3], 12))
        cases.append((record(16640), 16645))
        // No record is so long, or begins so: OpenSSL is to say it.
        cases.append((Array("GET / HTTP/1.1".utf8), 14))
        cases.append(([23, 2, 0, 0, 9], 5))
        cases.append((record(2) + [24, 3, 3, 0, 9], 12))
        cases.append(([23, 3, 3, 0x41, 0x01, 9], 6))
        cases.append((record(1) + [23, 3, 3, 0xff, 0xff], 11))
        return cases
    }()

    @Test(arguments: cases)
    func ends(_ bytes: [UInt8], _ end: Int) { #expect(whole(bytes) == end) }

    @Test func everyPrefix() {
        let bytes = Self.record(3) + Self.record(0) + Self.record(40)
        for count in 0...bytes.count {
            let expected = count < 8 ? 0 : count < 13 ? 8 : count < bytes.count ? 13 : bytes.count
            #expect(whole(Array(bytes[..<count])) == expected, "\(count) bytes")
        }
    }
}
