// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import meshload

struct HTTPResponseTests {
    private let message = Array("HTTP/1.1 200 OK\r\nServer: x\r\nCONTENT-length:  5\r\n\r\nhello".utf8)

    @Test func everySplitGivesTheSame() throws {
        for split in 0...message.count {
            var response = HTTPResponse()
            for _ in 0..<2 {
                let early = try message[..<split].withUnsafeBytes { bytes in try response.take(bytes) }
                #expect(early == (split == message.count))
                if split < message.count {
                    #expect(try message[split...].withUnsafeBytes { bytes in try response.take(bytes) })
                }
                #expect(response.status == 200 && response.bodyLength == 5)
            }
        }
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", "SSH-2.0 and more than that\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 17_000),
    ])
    func whatIsNoResponseIsRefused(_ text: String) {
        var response = HTTPResponse()
        #expect(throws: LoadError.self) {
            try Array(text.utf8).withUnsafeBytes { bytes in _ = try response.take(bytes) }
        }
    }
}
