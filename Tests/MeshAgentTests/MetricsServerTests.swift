// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

@testable import MeshAgent

/// The page of the agent for Prometheus.
@Suite(.serialized, .timeLimit(.minutes(1))) struct MetricsServerTests {
    private static func ask(_ loop: EventLoop, _ server: MetricsServer, _ parts: [String]) throws -> String {
        let port = try #require(server.endpoint?.port)
        let raw = CInt(StreamSocket.connect(to: .loopback(port: port)))
        defer { close(raw) }
        var (answer, memory) = ([UInt8](), [UInt8](repeating: 0, count: 1 << 16))
        for part in parts {
            let bytes = Array(part.utf8)
            while send(raw, bytes, bytes.count, CInt(MSG_NOSIGNAL)) < 0 {
                try #require(errno == EAGAIN || errno == ENOTCONN)
                try loop.turn(waitingAtMost: .milliseconds(2))
            }
            try loop.turn(waitingAtMost: .milliseconds(2))
        }
        for _ in 0..<5000 {
            try loop.turn(waitingAtMost: .milliseconds(2))
            let count = recv(raw, &memory, memory.count, 0)
            if count > 0 { answer += memory[..<count] }
            if count == 0 || (count < 0 && errno != EAGAIN) { return String(decoding: answer, as: UTF8.self) }
        }
        return String(decoding: answer, as: UTF8.self)
    }

    static let requests: [(parts: [String], status: String)] = [
        (["GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"], "200 OK"),
        (["GET /metr", "ics?x=1 HTTP/1.0\r\n", "\r\n"], "200 OK"),
        (["GET / HTTP/1.1\r\nHost: a\r\n\r\n"], "404 Not Found"),
        (["GET /metrics2 HTTP/1.1\r\nHost: a\r\n\r\n"], "404 Not Found"),
        (["POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n"], "405 Method Not Allowed"),
        (["nonsense\r\n\r\n"], "400 Bad Request"),
    ]

    @Test(arguments: requests) func whatIsAnswered(_ parts: [String], _ status: String) throws {
        let loop = try EventLoop()
        let server = try MetricsServer(on: loop, at: .loopback(port: 0)) { $0(Array("one 1\n".utf8)) }
        let answer = try Self.ask(loop, server, parts)
        #expect(answer.hasPrefix("HTTP/1.1 \(status)\r\n"), "\(answer)")
        if status == "200 OK" {
            #expect(answer.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"))
            #expect(answer.hasSuffix("\r\nContent-Length: 6\r\nConnection: close\r\n\r\none 1\n"))
        }
    }

    @Test func aPageMayBeLargerThanASocketTakes() throws {
        let loop = try EventLoop()
        let page = [UInt8](repeating: 0x61, count: 8 << 20)
        let server = try MetricsServer(on: loop, at: .loopback(port: 0)) { reply in loop.enqueue { reply(page) } }
        let answer = try Self.ask(loop, server, ["GET /metrics HTTP/1.1\r\n\r\n"])
        #expect(answer.utf8.count > page.count && answer.hasSuffix("aaaa"))
    }

    @Test func aRequestWithoutAnEndIsCut() throws {
        let loop = try EventLoop()
        let server = try MetricsServer(on: loop, at: .loopback(port: 0)) { $0([]) }
        let long = String(repeating: "a", count: 4000)
        #expect(try Self.ask(loop, server, [long, long, long]).isEmpty)
    }

    @Test func aPlaceThatIsTakenIsSaid() throws {
        let loop = try EventLoop()
        let first = try MetricsServer(on: loop, at: .loopback(port: 0)) { $0([]) }
        let endpoint = try #require(first.endpoint)
        #expect(throws: SystemError.self) { _ = try MetricsServer(on: loop, at: endpoint) { $0([]) } }
    }

    static let flags: [(text: String, isAddress: Bool)] = [
        ("127.0.0.1:15020", true), ("[::1]:15020", true), ("0.0.0.0:0", true), ("127.0.0.1", false),
        ("::1:15020", false),
        (":15020", false), ("[127.0.0.1]:1", false), ("localhost:1", false), ("127.0.0.1:70000", false), ("", false),
    ]

    @Test(arguments: flags) func addressesAreChecked(_ text: String, _ isAddress: Bool) {
        #expect(((try? AgentConfiguration.endpoint(text)) != nil) == isAddress)
    }

    @Test func theProxysFlagsNeedAProxy() {
        #expect(throws: ConfigurationError.Rejection.self) {
            try AgentConfiguration.check(ProxyOptions(workers: 2), of: .off)
        }
        #expect(throws: ConfigurationError.Rejection.self) {
            try AgentConfiguration.check(ProxyOptions(workers: 0), of: .program("/p"))
        }
        #expect(throws: Never.self) { try AgentConfiguration.check(ProxyOptions(), of: .missing([])) }
        #expect(ProxyOptions(workers: 2, accessLog: .off).arguments == ["--workers", "2", "--access-log", "off"])
        #expect(ProxyOptions().arguments.isEmpty)
    }
}
