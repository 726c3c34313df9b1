// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import ProxyProtocol
import Testing

/// Both ends of a link, on one loop.
@Suite(.serialized, .timeLimit(.minutes(1))) struct LinkTests {
    typealias ProxySide = Link<AgentMessage, ProxyMessage>
    typealias AgentSide = Link<ProxyMessage, AgentMessage>

    final class Heard {
        var opened: Hello?
        var messages: [AgentMessage] = []
        var descriptors: [SharedDescriptor] = []
        var closed: [String] = []
    }

    /// How many descriptors this process has of the memory file of this name. Other tests open others meanwhile.
    private static func descriptorCount(of name: String) -> Int {
        (0..<1024).count { number in
            var buffer = [UInt8](repeating: 0, count: 256)
            let length = readlink("/proc/self/fd/\(number)", &buffer, buffer.count)
            return length > 0 && String(decoding: buffer[..<length], as: UTF8.self).hasPrefix("/memfd:\(name) ")
        }
    }

    private static func listen(_ heard: Heard) -> (ProxySide.Event) -> Void {
        { event in
            switch event {
            case .opened(let hello): heard.opened = hello
            case .message(let message, let descriptors):
                heard.messages.append(message)
                heard.descriptors += descriptors
            case .closed(let reason): heard.closed.append(reason)
            }
        }
    }

    private static func turn(_ loop: EventLoop, until done: () -> Bool) throws {
        let start = ContinuousClock.now
        while !done(), start.duration(to: .now) < .seconds(20) { try loop.turn(waitingAtMost: .milliseconds(5)) }
        #expect(done())
    }

    @Test func messagesAndDescriptorsArriveInOrder() throws {
        let loop = try EventLoop()
        let (near, far) = try PacketSocket.pair()
        let heard = Heard()
        let proxy = try ProxySide(
            on: loop, PacketSocket(far), as: Hello(.proxy, program: "1"), expecting: .agent, Self.listen(heard))
        let agent = try AgentSide(
            on: loop, PacketSocket(near), as: Hello(.agent, program: "2", generation: 7), expecting: .proxy
        ) { _ in }
        // More than the socket holds, so that some wait in the queue.
        let value = [UInt8](repeating: 7, count: 60000)
        let null = SharedDescriptor(try OwnedDescriptor(open: "/dev/null", flags: O_RDONLY))
        let sent: [AgentMessage] =
            (0..<60).flatMap { [.put(RecordKey(.service, "\($0)"), value), .leg(request: $0)] }
        for message in sent { agent.send(message, message.descriptors == 1 ? [null] : []) }
        try Self.turn(loop) { heard.messages.count == sent.count }
        #expect(heard.messages == sent)
        #expect(heard.opened == Hello(.agent, program: "2", generation: 7))
        #expect(heard.descriptors.count == 60)
        #expect(heard.descriptors.allSatisfy { fcntl($0.rawValue, F_GETFD) & FD_CLOEXEC != 0 })
        #expect(proxy.peer.process == getpid())
        proxy.send(.drained)
        agent.close("enough")
        try Self.turn(loop) { !heard.closed.isEmpty }
        #expect(heard.closed == ["the peer has closed: enough"])
    }

    @Test func nothingLeaksWhateverIsSent() throws {
        let loop = try EventLoop()
        let file = try SealedMemory.make("link-leak", [])
        #expect(Self.descriptorCount(of: "link-leak") == 1)
        for descriptors in [1, 4, 5, 16] {
            let (near, far) = try PacketSocket.pair()
            let heard = Heard()
            let proxy = try ProxySide(
                on: loop, PacketSocket(far), as: Hello(.proxy, program: "1"), expecting: .agent, Self.listen(heard))
            // By hand: a Link refuses to send this.
            let raw = try PacketSocket(near)
            var state = LinkState<ProxyMessage, AgentMessage>(Hello(.agent, program: "1"), expecting: .proxy)
            #expect(try raw.send(state.hello()) == .sent)
            let extra = Array(repeating: file, count: descriptors)
            #expect(try raw.send(state.frame(.commit(1)), extra) == .sent)
            try Self.turn(loop) { !heard.closed.isEmpty }
            #expect(heard.closed == ["a packet of type 19 has \(descriptors) descriptors, not 0"])
            #expect(!proxy.isOpen)
            #expect(heard.messages.isEmpty)
        }
        withExtendedLifetime(file) { #expect(Self.descriptorCount(of: "link-leak") == 1) }
    }

    @Test func aPacketThatIsTooLargeClosesTheLinkAndIsNamed() throws {
        let loop = try EventLoop()
        let (near, far) = try PacketSocket.pair()
        let heard = Heard()
        let proxy = try ProxySide(
            on: loop, PacketSocket(far), as: Hello(.proxy, program: "1"), expecting: .agent, Self.listen(heard))
        let raw = try PacketSocket(near)
        #expect(try raw.send([UInt8](repeating: 0, count: 70000)) == .sent)
        try Self.turn(loop) { !heard.closed.isEmpty }
        #expect(heard.closed == ["the peer has sent a packet of more than 65536 bytes"])
        _ = proxy
    }

    @Test func moreDescriptorsThanThereIsRoomForAreClosed() throws {
        let (near, far) = try PacketSocket.pair()
        let sender = try PacketSocket(near)
        let receiver = try PacketSocket(far)
        let null = SharedDescriptor(try OwnedDescriptor(open: "/dev/null", flags: O_RDONLY))
        #expect(throws: SystemError.self) { try sender.send([1], Array(repeating: null, count: 17)) }
        // Two packets of the most are not joined.
        for _ in 0..<2 { #expect(try sender.send([1], Array(repeating: null, count: 16)) == .sent) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 1)
        defer { buffer.deallocate() }
        for _ in 0..<2 {
            guard case .packet(1, let descriptors) = try receiver.receive(into: buffer) else {
                return #expect(Bool(false))
            }
            #expect(descriptors.count == 16)
        }
    }

    @Test func aPeerThatDoesNotReadIsLetGo() throws {
        let loop = try EventLoop()
        let (near, far) = try PacketSocket.pair()
        var limits = LinkLimits()
        limits.queuedBytes = 1 << 20
        var closed: [String] = []
        let agent = try AgentSide(
            on: loop, PacketSocket(near), as: Hello(.agent, program: "1"), expecting: .proxy, limits: limits
        ) { if case .closed(let reason) = $0 { closed.append(reason) } }
        let value = [UInt8](repeating: 7, count: 60000)
        for number in 0..<100 { agent.send(.put(RecordKey(.service, "\(number)"), value)) }
        #expect(!agent.isOpen)
        try Self.turn(loop) { !closed.isEmpty }
        #expect(closed.count == 1)
        #expect(closed.first?.hasPrefix("the peer does not read") == true)
        _ = far
    }

    @Test func aSocketOfAnotherKindIsRefused() throws {
        var ends: [CInt] = [-1, -1]
        #expect(socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let (one, other) = (SharedDescriptor(adopting: ends[0]), SharedDescriptor(adopting: ends[1]))
        _ = other
        #expect(throws: SystemError.self) { _ = try PacketSocket(one).descriptor }
    }
}
