// SPDX-License-Identifier: Apache-2.0

import MeshModel
import ProxyProtocol
import Testing

/// Every message of every direction, framed by one end and read by the other.
struct MessageTests {
    static let address = SocketEndpoint(IPAddress(v4: 0x0a00_0001), 8080)
    static let key = ListenerKey(netns: 4711, direction: .inbound, family: .ipv6)

    static let toProxy: [AgentMessage] = [
        .begin(base: 1, generation: 2), .put(RecordKey(.route, "r"), [1, 2, 3]), .put(RecordKey(.service, ""), []),
        .delete(RecordKey(.service, "shop/web:80")), .commit(2), .snapshot(7), .listener(Listener(key, port: 15001)),
        .listenerGone(key), .leg(request: 9), .legRefused(request: 9, SocketRefusal(errnoCode: 13, "no")),
        .drain(milliseconds: 30000), .statusRequest(5), .metricsRequest(6), .policy(8, by: 2), .identities(7),
        .identitiesRequest(8),
    ]
    static let toAgent: [ProxyMessage] = [
        .acknowledge(2), .reject(2, reason: "route a is malformed"),
        .legRequest(LegRequest(number: 1, netns: 4711, destination: address, client: nil)),
        .legRequest(LegRequest(number: 2, netns: 4711, destination: address, client: address)),
        .legRequest(LegRequest(number: 3, netns: 4711, destination: address, outsider: 260, client: nil)),
        .listener(Listener(key, port: 15001)), .listenersComplete(4), .drained,
        .metrics(6), .identities(7, refusal: nil), .identities(7, refusal: "no"), .identitiesWritten(8),
        .status(ProxyStatus(request: 5, generation: 2, listeners: 4, connections: 1, isDraining: true)),
    ]
    static let toFactory: [FactoryRequest] = [
        .addWorkload(number: 1, netns: 4711), .removeWorkload(number: 2, netns: 4711),
        .listener(number: 3, key, backlog: 512), .leg(number: 4, netns: 4711, source: address.address),
    ]
    static let fromFactory: [FactoryAnswer] = [
        .done(number: 1), .socket(number: 2, port: 99), .refused(number: 3, SocketRefusal(errnoCode: 2, "gone")),
    ]

    private static func check<Message: LinkMessage & Equatable>(
        _ messages: [Message], from sender: Hello.Role, to receiver: Hello.Role
    ) throws {
        var out = LinkState<Message, Message>(Hello(sender, program: "1"), expecting: receiver)
        var input = LinkState<Message, Message>(Hello(receiver, program: "1"), expecting: sender)
        func receive(_ bytes: [UInt8], _ descriptors: Int) -> LinkState<Message, Message>.Received {
            bytes.withUnsafeBytes { input.receive($0, descriptors: descriptors) }
        }
        guard case .hello(let hello) = receive(out.hello(), 0) else { throw Failure() }
        #expect(hello == Hello(sender, program: "1"))
        for message in messages {
            let frame = out.frame(message)
            for length in 0..<frame.count {
                var copy = input
                guard
                    case .violation = frame[..<length].withUnsafeBytes({
                        copy.receive($0, descriptors: message.descriptors)
                    })
                else {
                    Issue.record("\(message) cut to \(length) bytes of \(frame.count) is accepted")
                    continue
                }
            }
            for descriptors in 0...2 where descriptors != message.descriptors {
                var copy = input
                guard case .violation = frame.withUnsafeBytes({ copy.receive($0, descriptors: descriptors) }) else {
                    Issue.record("\(message) with \(descriptors) descriptors is accepted")
                    continue
                }
            }
            guard case .message(let read) = receive(frame, message.descriptors) else { throw Failure() }
            #expect(read == message)
        }
        guard case .goodbye("enough") = receive(out.goodbye("enough"), 0) else { throw Failure() }
    }

    private struct Failure: Error {}

    @Test func everyMessageArrives() throws {
        try Self.check(Self.toProxy, from: .agent, to: .proxy)
        try Self.check(Self.toAgent, from: .proxy, to: .agent)
        try Self.check(Self.toFactory, from: .agent, to: .factory)
        try Self.check(Self.fromFactory, from: .factory, to: .agent)
    }

    /// The types of each direction are numbered without gaps, so no two share a number.
    @Test func typesAreUnique() {
        #expect(Set(Self.toProxy.map(\.type)) == Set(16...30))
        #expect(Set(Self.toAgent.map(\.type)) == Set(16...25))
        #expect(Set(Self.toFactory.map(\.type)) == Set(16...19))
        #expect(Set(Self.fromFactory.map(\.type)) == Set(16...18))
    }

    // MARK: - Hello and order

    typealias Proxy = LinkState<AgentMessage, ProxyMessage>

    private static func reason(_ received: Proxy.Received) -> String? {
        if case .violation(let reason) = received { reason } else { nil }
    }

    private static func answer(
        to hello: Hello, then frames: [(inout LinkState<ProxyMessage, AgentMessage>) -> [UInt8]] = []
    ) -> String? {
        var agent = LinkState<ProxyMessage, AgentMessage>(hello, expecting: .proxy)
        var proxy = Proxy(Hello(.proxy, program: "0.1.0"), expecting: .agent)
        var last = agent.hello().withUnsafeBytes { proxy.receive($0, descriptors: 0) }
        for frame in frames { last = frame(&agent).withUnsafeBytes { proxy.receive($0, descriptors: 0) } }
        return reason(last)
    }

    @Test func anotherMajorVersionIsRefusedWithBothVersions() {
        let other = Hello(.agent, version: .init(major: 2, minor: 0), program: "9.0.0")
        #expect(
            Self.answer(to: other)
                == "mesh-agent 9.0.0 speaks version 2.0 of the protocol and mesh-proxy 0.1.0 version 1.2: "
                + "install both from one release")
        #expect(Self.answer(to: Hello(.agent, version: .init(major: 1, minor: 7), program: "0.9.0")) == nil)
    }

    @Test func aLaterHelloMayBeLonger() {
        var agent = LinkState<ProxyMessage, AgentMessage>(Hello(.agent, program: "1"), expecting: .proxy)
        var proxy = Proxy(Hello(.proxy, program: "1"), expecting: .agent)
        let bytes = agent.hello() + [1, 2, 3]
        #expect(Self.reason(bytes.withUnsafeBytes { proxy.receive($0, descriptors: 0) }) == nil)
    }

    @Test func theWrongProgramIsRefused() {
        #expect(
            Self.answer(to: Hello(.factory, program: "1")) == "socket factory is at the other end, not mesh-agent")
    }

    @Test func orderIsKept() {
        let hello = Hello(.agent, program: "1")
        #expect(Self.answer(to: hello, then: [{ $0.hello() }]) == "a second hello")
        #expect(
            Self.answer(
                to: hello,
                then: [
                    {
                        _ = $0.frame(.commit(1))
                        return $0.frame(.commit(2))
                    }
                ])
                == "packet 3 follows 1")
        var proxy = Proxy(Hello(.proxy, program: "1"), expecting: .agent)
        var agent = LinkState<ProxyMessage, AgentMessage>(hello, expecting: .proxy)
        let first = agent.frame(.commit(1)).withUnsafeBytes { proxy.receive($0, descriptors: 0) }
        #expect(Self.reason(first) == "the first packet is of type 19, and no hello")
    }

    @Test func reservedBitsAndUnknownTypesAreRefused() {
        var bytes = [UInt8](repeating: 0, count: 12)
        func refuse() -> String? {
            var proxy = Proxy(Hello(.proxy, program: "1"), expecting: .agent)
            var agent = LinkState<ProxyMessage, AgentMessage>(Hello(.agent, program: "1"), expecting: .proxy)
            _ = agent.hello().withUnsafeBytes { proxy.receive($0, descriptors: 0) }
            return Self.reason(bytes.withUnsafeBytes { proxy.receive($0, descriptors: 0) })
        }
        bytes[0] = 99
        bytes[4] = 2
        #expect(refuse() == "malformed packet: 99 is no message of an agent to a proxy, at byte 12")
        bytes[2] = 1
        #expect(refuse() == "malformed packet: reserved bits are set, at byte 12")
    }
}
