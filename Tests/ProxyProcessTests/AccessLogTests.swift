// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import MeshModel
import Synchronization
import Testing

@testable import ProxyProcess

struct AccessLogTests {
    static let texts = [
        ("0.0.0.0", "0.0.0.0:80"), ("192.0.2.255", "192.0.2.255:80"), ("::", "[::]:80"), ("::1", "[::1]:80"),
        ("1::", "[1::]:80"), ("2001:db8::1", "[2001:db8::1]:80"), ("1:0:2:3:4:5:6:7", "[1:0:2:3:4:5:6:7]:80"),
        ("1:0:0:2:0:0:0:3", "[1:0:0:2::3]:80"), ("1:0:0:2:0:0:3:4", "[1::2:0:0:3:4]:80"),
        ("0:1:2:3:4:5:0:0", "[0:1:2:3:4:5::]:80"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80"),
    ]

    @Test(arguments: texts) func anEndpointIsWrittenAsRFC5952HasIt(_ address: String, _ text: String) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: EndpointText.longest, alignment: 1)
        defer { buffer.deallocate() }
        let written = EndpointText.write(try #require(IPAddress(address)), 80, into: buffer)
        #expect(String(decoding: written, as: UTF8.self) == text)
    }

    @Test func anyEndpointFits() {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: EndpointText.longest, alignment: 1)
        defer { buffer.deallocate() }
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            // Zeros in any place.
            let mask = (0..<4).reduce(UInt64(0)) { mask, _ in mask << 16 | (Bool.random(using: &random) ? 0xffff : 0) }
            let address = IPAddress(high: random.next() & mask, low: random.next() & ~mask | 1 << 63)
            let text = String(decoding: EndpointText.write(address, .max, into: buffer), as: UTF8.self)
            #expect(text == "[\(address)]:65535")
        }
    }

    /// What the log's thread says.
    final class Heard: Sendable {
        let lost = Mutex<UInt64>(0)
        let hasEnded = Mutex(false)
    }

    @Test func aReaderThatIsTooSlowLosesLinesAndIsToldHowMany() throws {
        let pipe = try LogPipe()
        let heard = Heard()
        let log = try AccessLog(to: pipe.input.rawValue, limit: 100_000) { lost in heard.lost.withLock { $0 += lost } }
        // More than the pipe and both buffers hold.
        let line = [UInt8](repeating: 0x61, count: 999) + [0x0a]
        var given: UInt64 = 0
        for _ in 0..<1000 {
            line.withUnsafeBytes { log.append($0, lines: 1) }
            given += 1
        }
        log.end { heard.hasEnded.withLock { $0 = true } }
        var bytes: [UInt8] = []
        let start = ContinuousClock.now
        while start.duration(to: .now) < .seconds(20) {
            // Asked first: what is read afterwards is all that there will be.
            let hasEnded = heard.hasEnded.withLock { $0 }
            let more = pipe.read()
            bytes += more
            if more.isEmpty {
                if hasEnded { break }
                usleep(1000)
            }
        }
        let lost = heard.lost.withLock { $0 }
        #expect(heard.hasEnded.withLock { $0 })
        #expect(lost > 0 && UInt64(bytes.count / 1000) + lost == given)
        #expect(
            bytes.count % 1000 == 0 && stride(from: 999, to: bytes.count, by: 1000).allSatisfy { bytes[$0] == 0x0a })
    }
}
