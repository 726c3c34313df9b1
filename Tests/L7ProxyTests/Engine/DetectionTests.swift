// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshModel
import Testing

@testable import L7Proxy

/// Connections to a port of which nobody says what it speaks.
@Suite(.serialized) struct DetectionTests {
    private static let hello: [UInt8] = [22, 3, 1, 0, 5, 1, 0, 0, 1, 3]

    /// Answers requests as a web server, and what is none by the same bytes.
    private static func either() throws -> TestBackend {
        try TestBackend { backend, connection, _ in
            while case .bytes(let bytes) = connection.receive() {
                let text = String(decoding: bytes, as: UTF8.self)
                backend.keep(text)
                if text.hasPrefix("GET /") { connection.send(TestBackend.ok()) } else { connection.send(bytes: bytes) }
            }
        }
    }

    private static func get(_ client: TestConnection) -> Bool {
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        return client.readMessage().hasPrefix("HTTP/1.1 200 ")
    }

    @Test func onOnePortEachIsServedAsWhatItIs() throws {
        let backend = try Self.either()
        let rig = try Rig([backend.port], appProtocol: nil) { $0.detectTimeout = 20_000 }
        let raw = rig.client()
        raw.send("*1\r\n$4\r\nPING\r\n")
        #expect(raw.read(until: "PING\r\n") == "*1\r\n$4\r\nPING\r\n")
        let tls = rig.client()
        tls.send(bytes: Self.hello)
        #expect(tls.read(count: Self.hello.count) == Self.hello)
        let http1 = rig.client()
        #expect(Self.get(http1) && Self.get(http1))
        let http2 = HTTP2TestClient(rig.client())
        let stream = http2.peer.get("/")
        #expect(http2.finish(stream) && http2.message(stream).first.first == "200")
        raw.endOutput()
        tls.endOutput()
        let records = rig.recorder.wait(for: 5)
        #expect(records.map { $0.flags.intersection([.tcp, .tls, .http2]) }.prefix(3) == [[], [], [.http2]])
        #expect(Set(records.map { $0.flags.intersection([.tcp, .tls]).rawValue }).count == 3)
        #expect(rig.counters().requests == 3)
    }

    /// However the bytes come.
    @Test func aRequestMayComeByteByByte() throws {
        let backend = try Self.either()
        let rig = try Rig([backend.port], appProtocol: nil) { $0.detectTimeout = 20_000 }
        let client = rig.client()
        for byte in "\r\nGET / HTTP/1.1\r\nHost: web\r\n\r\n".utf8 {
            client.send(bytes: [byte])
            _ = Poll.pause()
        }
        #expect(client.readMessage().hasPrefix("HTTP/1.1 200 "))
        #expect(rig.recorder.wait(for: 1)[0].flags.isDisjoint(with: .tcp))
    }

    @Test func aServerThatBeginsIsHeardSoon() throws {
        let backend = try TestBackend { _, connection, _ in
            connection.send("220 ready\r\n")
            connection.send("250 \(connection.read(until: "\r\n"))")
        }
        let rig = try Rig([backend.port], appProtocol: nil)
        let client = rig.client()
        #expect(client.read(until: "\r\n") == "220 ready\r\n")
        // A request for all that is known, and not read.
        client.send("GET / HTTP/1.1\r\n")
        #expect(client.readToEnd() == ("250 GET / HTTP/1.1\r\n", .end))
        client.endOutput()
        let record = rig.recorder.wait(for: 1)[0]
        #expect(record.flags.contains(.tcp) && record.reason == .tunnelEnded && record.responseBytes == 31)
    }

    /// Clients keep connections ready: one that says nothing for long is served as HTTP when it begins to.
    @Test func aClientOfHTTPMayBeSilentFirst() throws {
        let backend = try Self.either()
        let rig = try Rig([backend.port], appProtocol: nil) { $0.detectTimeout = 1 }
        let client = rig.client()
        #expect(Poll.until { backend.connections == 1 })
        #expect(Self.get(client) && Self.get(client))
        #expect(rig.recorder.wait(for: 2).allSatisfy { $0.flags.isDisjoint(with: .tcp) && $0.status == 200 })
        #expect(backend.connections == 2 && backend.requests.count == 2)
        client.close()
        #expect(Poll.until { rig.counters().connections == 0 && rig.counters().exchanges == 0 })
        #expect(rig.counters().requests == 2 && rig.recorder.all.count == 2)
    }

    @Test func whoSaysTooLittleIsHeardAllTheSame() throws {
        let backend = try Self.either()
        let rig = try Rig([backend.port], appProtocol: nil) { $0.detectTimeout = 5 }
        let client = rig.client()
        client.send("GE")
        #expect(client.read(count: 2) == Array("GE".utf8))
        // Not a request any more.
        client.send("T / HTTP/1.1\r\n\r\n")
        #expect(client.read(until: "\r\n\r\n") == "T / HTTP/1.1\r\n\r\n")
    }

    /// An end is all that some clients send.
    @Test func anEndIsPassedOn() throws {
        let backend = try TestBackend { _, connection, _ in
            _ = connection.readToEnd()
            connection.send("12:00")
        }
        let rig = try Rig([backend.port], appProtocol: nil) { $0.detectTimeout = 20_000 }
        let client = rig.client()
        client.endOutput()
        #expect(client.readToEnd() == ("12:00", .end))
    }

    private static let readers = {
        var operation = AuthorizationPolicy.Operation()
        operation.methods = ["GET"]
        return AuthorizationPolicy(
            metadata: ObjectMetadata(name: "p", namespace: "shop"), rules: [.init(to: [operation])])
    }()

    /// What policy says of requests does not end a connection whose first request has not come.
    @Test func aSilentClientIsNotJudgedBeforeItsRequest() throws {
        let backend = try Self.either()
        let rig = try Rig([backend.port], appProtocol: nil, policies: .init(authorization: [Self.readers])) {
            $0.detectTimeout = 1
        }
        let (client, other) = (rig.client(), rig.client())
        // Both have been silent for longer than that.
        #expect(Poll.until { rig.counters().connections == 2 })
        for _ in 0..<20 { _ = Poll.pause() }
        #expect(Self.get(client))
        other.send("anything else")
        #expect(other.receive() == .reset)
        let records = rig.recorder.wait(for: 2)
        #expect(records.map(\.reason) == [.forwarded, .denied] && records[1].decision >= 0)
        #expect(backend.connections == 1)
    }

    @Test func aSilentClientMayAskWhereNoEndpointIs() throws {
        let patient = try Rig([], appProtocol: nil) { $0.detectTimeout = 1 }
        let client = patient.client()
        #expect(Poll.until { patient.counters().connections == 1 })
        for _ in 0..<20 { _ = Poll.pause() }
        client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        #expect(client.readMessage().hasPrefix("HTTP/1.1 503 "))
        // Who stays silent is not waited for without end.
        let rig = try Rig([], appProtocol: nil) {
            $0.detectTimeout = 1
            $0.headTimeout = 20
        }
        #expect(rig.client().receive() == .end)
    }

    @Test func aPolicySaysHowLongIsWaited() throws {
        let backend = try TestBackend { _, connection, _ in connection.send("220 ready\r\n") }
        var policies = Rig.Policies()
        policies.service.detection = .auto
        policies.service.detectTimeout = 2
        let rig = try Rig([backend.port], appProtocol: "http", policies: policies) { $0.detectTimeout = 60_000 }
        #expect(rig.client().read(until: "\r\n") == "220 ready\r\n")
        policies.service.detection = .tcp
        policies.service.detectTimeout = 0
        rig.publish([backend.port], policies: policies)
        #expect(rig.client().read(until: "\r\n") == "220 ready\r\n")
    }

    @Test(arguments: ["http", "grpc", "kubernetes.io/ws"]) func garbageOnAPortOfHTTPIsAnswered(_ name: String) throws {
        let backend = try Self.either()
        let rig = try Rig([backend.port], appProtocol: name)
        let client = rig.client()
        client.send("*1\r\n$4\r\nPING\r\n")
        #expect(client.readToEnd().text.hasPrefix("HTTP/1.1 400 "))
        #expect(backend.connections == 0)
    }

    /// Whoever connects to a pod itself is told apart by what the pod's Services say.
    @Test func aPodsServicesSayWhatItSpeaks() {
        let pod = IPAddress("10.1.0.9")!
        func service(_ name: String, _ ports: [UInt16], _ appProtocol: String?) -> ProxyService {
            ProxyService(
                name: NamespacedName(namespace: "shop", name: name), port: 80, addresses: [],
                endpoints: ports.map { ClusterEndpoint(pod, port: $0) }, appProtocol: appProtocol,
                alternates: [ProxyEndpoint(address: pod, port: 25): IPAddress("fd00::9")!])
        }
        let services = [
            service("web", [8080], "http"), service("mail", [25, 8081], "tcp"), service("both", [8081], "http"),
            service("any", [8082], nil),
        ]
        func spoken(_ snapshot: ProxySnapshot, _ port: UInt16, _ address: IPAddress = pod) -> PortProtocol {
            snapshot.binding(
                ConnectionOrigin(
                    destination: address, destinationPort: port, client: IPAddress("192.0.2.1")!, clientPort: 1,
                    direction: .inbound)
            ).spoken
        }
        let destination = ProxyDestination(
            addresses: [pod, IPAddress("fd00::9")!], authorizer: RequestAuthorizer([Self.readers]))
        let snapshot = ProxySnapshot(generation: 1, services: services, destinations: [destination])
        #expect(
            [8080, 25, 8081, 8082, 1].map { spoken(snapshot, $0) } == [.http1, .tcp, .unknown, .unknown, .unknown])
        #expect(spoken(snapshot, 25, IPAddress("fd00::9")!) == .tcp)
    }
}
