// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Testing

@testable import L7Proxy

/// What the proxy answers itself, and what it does when a side fails.
@Suite(.serialized) struct FailureTests {
    struct Refusal: Sendable {
        let request: String
        let status: Int
        let reason: ReasonCode
    }

    @Test(arguments: [
        Refusal(request: "GET / HTTP/1.1\r\n\r\n", status: 400, reason: .malformedRequest),
        Refusal(request: "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", status: 400, reason: .malformedRequest),
        Refusal(
            request: "GET /\(String(repeating: "a", count: 9000)) HTTP/1.1\r\nHost: a\r\n\r\n", status: 414,
            reason: .targetTooLong),
        Refusal(
            request: "GET / HTTP/1.1\r\nHost: a\r\nA: \(String(repeating: "a", count: 30000))\r\n\r\n", status: 431,
            reason: .headTooLarge),
        Refusal(
            request: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", status: 501,
            reason: .methodNotSupported),
        Refusal(
            request: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", status: 400,
            reason: .bodyMalformed),
        Refusal(
            request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n", status: 413, reason: .bodyTooLarge),
        // RFC 9110 sections 7.6.2 and 9.3.6.
        Refusal(request: "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", status: 501, reason: .methodNotSupported),
        Refusal(
            request: "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", status: 204, reason: .hopsExhausted),
    ])
    func whatIsRefused(_ refusal: Refusal) throws {
        let backend = try TestBackend { _ in TestBackend.ok() }
        let rig = try Rig([backend.port]) { $0.bodyBytes = 1000 }
        let client = rig.client()
        client.send(refusal.request)
        #expect(client.readMessage().hasPrefix("HTTP/1.1 \(refusal.status) "))
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.reason == refusal.reason && Int(record.status) == refusal.status)
        #expect(record.flags.contains(.localReply))
        #expect(backend.requests.isEmpty)
    }

    @Test func slowHeadsAndSlowBodiesAreTimedOut() throws {
        // RFC 9110 section 15.5.9.
        let backend = try TestBackend { _, connection, _ in _ = connection.readToEnd() }
        // Time enough for the first bytes to come.
        let heads = try Rig([backend.port]) { $0.headTimeout = 300 }
        let slow = heads.client()
        slow.send("GET / HTTP/1.1\r\nHo")
        #expect(slow.readMessage().hasPrefix("HTTP/1.1 408 "))
        #expect(slow.readToEnd().end == .end)
        #expect(heads.recorder.wait(for: 1).map(\.reason) == [.headTimeout])
        // A connection that says nothing is closed without a word.
        let silent = heads.client()
        #expect(silent.readToEnd() == ("", .end))
        let rig = try Rig([backend.port]) {
            $0.headTimeout = 300
            $0.stallTimeout = 40
        }
        let stalled = rig.client()
        stalled.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        #expect(stalled.readMessage().hasPrefix("HTTP/1.1 408 "))
        let waiting = rig.client()
        waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(waiting.readMessage().hasPrefix("HTTP/1.1 504 "))
        #expect(rig.recorder.wait(for: 2).map(\.reason) == [.bodyTimeout, .responseStalled])
    }

    @Test func aBackendThatIsNotThereIs503() throws {
        let port: UInt16
        do {
            let listener = try StreamSocket.listen(at: .loopback(port: 0))
            port = StreamSocket.localEndpoint(listener.rawValue)?.port ?? 0
        }
        let rig = try Rig([port])
        let client = rig.client()
        for _ in 0..<2 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            // Nothing was lost on the way, so the client keeps its connection.
            #expect(client.readMessage().hasPrefix("HTTP/1.1 503 "))
        }
        rig.publish([])
        #expect(Poll.until { rig.counters().upstreams == 0 })
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 503 "))
        #expect(rig.recorder.wait(for: 3).map(\.reason) == [.connectFailed, .connectFailed, .noEndpoint])
    }

    @Test(arguments: ["garbage\r\n\r\n", "", "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"])
    func aBackendThatDoesNotSpeakHTTPIs502(_ answer: String) throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send(answer)
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 502 "))
        #expect(backend.connections == 1, "a fresh connection that ends is no reason to repeat")
    }

    @Test func anIncompleteResponseIsNeverMadeComplete() throws {
        // RFC 9112 section 8.
        for response in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ] {
            let backend = try TestBackend { _, connection, _ in
                _ = connection.readHead()
                connection.send(response)
            }
            let rig = try Rig([backend.port])
            let client = rig.client()
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            let (text, end) = client.readToEnd()
            #expect(!text.hasSuffix("\r\n0\r\n\r\n") && end == .reset)
            let record = rig.recorder.wait(for: 1)[0]
            #expect(record.reason == .responseCut && record.flags.contains(.incomplete))
        }
    }

    @Test func aKeptConnectionThatWasClosedIsReplacedForWhatMayBeRepeated() throws {
        // RFC 9110 section 9.2.2, RFC 9112 section 9.3.1: the first connection ends with the second request on it.
        let backend = try TestBackend { backend, connection, number in
            backend.keep(connection.readMessage())
            connection.send(TestBackend.ok("\(number)"))
            if number == 0 { connection.reset(after: connection.readHead()) } else { _ = connection.readHead() }
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(client.readMessage().hasSuffix("0"))
        client.send("PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz")
        #expect(client.readMessage().hasSuffix("1"))
        #expect(backend.requests[1].hasSuffix("\r\n\r\nxyz"), "with its body")
        #expect(rig.recorder.wait(for: 2)[1].flags.contains(.repeatedAfterClose))
    }

    @Test func whatMustNotBeRepeatedIsNot() throws {
        let backend = try TestBackend { _, connection, number in
            _ = connection.readHead()
            connection.send(TestBackend.ok())
            if number == 0 { connection.reset(after: connection.readHead()) } else { _ = connection.readHead() }
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = client.readMessage()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 502 "))
        #expect(backend.connections == 1)
        #expect(rig.recorder.wait(for: 2)[1].reason == .backendReset)
    }

    @Test func anEarlyAnswerReachesAClientThatIsStillSending() throws {
        // RFC 9112 section 9.5: the backend refuses a long body and closes.
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readHead()
            connection.send("HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            connection.endOutput()
            _ = connection.readToEnd()
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nstart")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 413 No"))
        #expect(rig.recorder.wait(for: 1)[0].reason == .forwarded)
    }

    @Test func aClientThatGoesFreesEverything() throws {
        let backend = try TestBackend { backend, connection, _ in
            backend.keep(connection.readHead())
            _ = connection.readToEnd()
        }
        let rig = try Rig([backend.port])
        let client = rig.client()
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        // Not before: a connection that is not in use yet is kept for others.
        #expect(Poll.until { backend.requests.count == 1 })
        client.reset()
        #expect(rig.recorder.wait(for: 1).first?.reason == .clientGone)
        #expect(
            Poll.until {
                let counters = rig.counters()
                return counters.upstreams == 0 && counters.connections == 0 && counters.exchanges == 0
                    && counters.buffers == 0
            })
    }
}

extension TestConnection {
    /// Resets the connection once something was read.
    func reset(after text: String) { if !text.isEmpty { reset() } }
}
