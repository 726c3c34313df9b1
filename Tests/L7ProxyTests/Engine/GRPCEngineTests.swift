// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Testing

@testable import L7Proxy

/// gRPC calls through a worker (grpc/doc/PROTOCOL-HTTP2.md, http-grpc-status-mapping.md).
@Suite(.serialized) struct GRPCEngineTests {
    private static func call(
        _ client: HTTP2TestClient, _ path: String = "/shop.Web/Get", _ fields: String = ""
    )
        -> HTTP2Stream?
    {
        client.peer.request(
            "POST \(path) HTTP/1.1\r\nHost: web\r\nContent-Type: application/grpc+proto\r\nTE: trailers\r\n\(fields)\r\n",
            body: [0, 0, 0, 0, 0])
    }

    private static func status(_ message: H2Message) -> String? {
        (message.trailers + message.fields).first { $0.name == "grpc-status" }?.value
    }

    @Test func aCallGoesByHTTP2WhateverTheServiceSaysOfItsPort() throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen) { peer, stream, message in
            peer.respond(stream, 200, [("content-type", "application/grpc")], body: message.body, isLast: false)
            peer.trailers(stream, [("grpc-status", "5"), ("grpc-message", "no such"), ("x-bin", "AAE=")])
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let call = Self.call(client, "/shop.Web/Get", "grpc-timeout: 5S\r\n")
        #expect(client.finish(call))
        let message = client.message(call)
        #expect(message.body == [0, 0, 0, 0, 0] && Self.status(message) == "5")
        #expect(message.trailers.map(\.name) == ["grpc-status", "grpc-message", "x-bin"])
        let request = try #require(seen.requests.first)
        #expect(request.fields.contains(ReadField("te", "trailers")))
        #expect(request.fields.contains(ReadField("grpc-timeout", "5S")))
        #expect(rig.recorder.wait(for: 1).map(\.grpcStatus) == [5])
    }

    @Test func aResponseOfTrailersOnlyIsOneHead() throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen) { peer, stream, _ in
            peer.respond(stream, 200, [("content-type", "application/grpc"), ("grpc-status", "12")])
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let call = Self.call(client)
        #expect(client.finish(call))
        #expect(client.peer.recorder.log.contains("response \(call?.id ?? 0) end"))
        #expect(Self.status(client.message(call)) == "12")
        #expect(rig.recorder.wait(for: 1).map(\.grpcStatus) == [12])
    }

    @Test func aCallWithoutAStatusHasTheOneThatItsClientMakesUp() throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen) { peer, stream, message in
            switch message.first[1] {
            case "/shop.Web/Busy": peer.respond(stream, 503)
            case "/shop.Web/Wait": break
            default: peer.respond(stream, 200, [("grpc-status", "no number")])
            }
        }
        let rig = try Rig([backend.port], appProtocol: "grpc")
        let client = HTTP2TestClient(rig.client())
        for path in ["/shop.Web/Busy", "/shop.Web/Other"] { #expect(client.finish(Self.call(client, path))) }
        #expect(client.finish(client.peer.get("/plain")))
        let gone = Self.call(client, "/shop.Web/Wait")
        client.connection.send(bytes: client.peer.output())
        #expect(Poll.until { seen.requests.count == 4 })
        if let gone { client.peer.session.reset(gone, .cancel) }
        #expect(client.finish(gone))
        let statuses = rig.recorder.wait(for: 4).map(\.grpcStatus)
        #expect(statuses == [14, 2, -1, 1])
    }

    @Test func whatTheProxyAnswersItselfIsAStatusOfGRPC() throws {
        let none = try Rig([])
        let client = HTTP2TestClient(none.client())
        let call = Self.call(client)
        #expect(client.finish(call))
        #expect(client.message(call).first.first == "200" && Self.status(client.message(call)) == "14")
        #expect(none.recorder.wait(for: 1)[0].reason == .noEndpoint && none.recorder.all[0].grpcStatus == 14)

        let backend = try TestBackend { _ in TestBackend.ok() }
        let rule = HTTPRoute.Rule(matches: [HTTPRouteMatch(path: .exact("/only"))])
        let routed = try Rig([backend.port], rules: [rule])
        let other = HTTP2TestClient(routed.client())
        let unknown = Self.call(other)
        #expect(other.finish(unknown) && Self.status(other.message(unknown)) == "12")
        // What is no call is answered as HTTP is.
        let plain = other.peer.get("/other")
        #expect(other.finish(plain) && other.message(plain).first.first == "404")
        #expect(other.message(plain).body == Array("Not Found".utf8))
    }

    @Test func aCallEndsWithTheTimeThatItsClientGivesIt() throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen) { peer, stream, message in
            if message.first[1] == "/shop.Web/Get" { peer.respond(stream) }
        }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        // The connections are there: the time is the call's alone.
        #expect(client.finish(Self.call(client)))
        let call = Self.call(client, "/shop.Web/Wait", "grpc-timeout: 1S\r\n")
        #expect(client.finish(call))
        #expect(Self.status(client.message(call)) == "4", "DEADLINE_EXCEEDED")
        #expect(Poll.until { seen.closed.contains(.cancel) }, "the backend is told that nobody waits")
        #expect(rig.recorder.wait(for: 2)[1].reason == .requestTimeout && rig.recorder.all[1].grpcStatus == 4)
    }

    @Test(arguments: [(HTTP2ErrorCode.cancel, "1"), (.enhanceYourCalm, "8"), (.internalError, "13")])
    func aResetOfTheBackendIsItsStatus(_ code: HTTP2ErrorCode, _ status: String) throws {
        let seen = HTTP2Seen()
        let backend = try TestBackend(http2: seen) { peer, stream, _ in peer.session.reset(stream, code) }
        let rig = try Rig([backend.port])
        let client = HTTP2TestClient(rig.client())
        let call = Self.call(client)
        #expect(client.finish(call) && Self.status(client.message(call)) == status)
        #expect(rig.recorder.wait(for: 1).map { "\($0.grpcStatus)" } == [status])
    }
}
