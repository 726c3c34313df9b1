// SPDX-License-Identifier: Apache-2.0

public import LinuxIO

/// One end of a connection between two processes of the node, on an event loop.
///
/// Sends its ``Hello`` at once; delivers the peer's, then messages in order, then why the link has closed, once. Belongs
/// to the thread of its loop. Whoever holds it decides what messages mean.
public final class Link<Incoming: LinkMessage, Outgoing: LinkMessage> {
    public enum Event {
        case opened(Hello)
        /// As many descriptors as the message says. Those that nobody keeps are closed.
        case message(Incoming, [SharedDescriptor])
        /// The last event.
        case closed(String)
    }

    /// The process at the other end.
    public let peer: PeerCredentials
    /// What the peer said of itself, once it did.
    public private(set) var hello: Hello?
    /// Whether messages can be sent: from the start until it is closed.
    public var isOpen: Bool { watch != nil }

    private let loop: EventLoop
    private let socket: PacketSocket
    private let limits: LinkLimits
    private var state: LinkState<Incoming, Outgoing>
    private var handler: ((Event) -> Void)?
    private var watch: EventLoop.Watch?
    private var queue: [(bytes: [UInt8], descriptors: [SharedDescriptor])] = []
    /// Packets of the queue that have been sent.
    private var queueStart = 0
    private var queuedBytes = 0
    private var isWaitingToWrite = false

    /// - Parameters:
    ///   - handler: called by the loop only, never by ``send(_:_:)`` or here.
    ///   - expected: who must be at the other end.
    /// - Throws: ``SystemError`` if the socket cannot be watched.
    public init(
        on loop: EventLoop, _ socket: consuming PacketSocket, as own: Hello, expecting expected: Hello.Role,
        limits: LinkLimits = LinkLimits(), _ handler: @escaping (Event) -> Void
    ) throws(SystemError) {
        self.loop = loop
        self.limits = limits
        peer = try socket.peer()
        // Room for some of the largest packets; what an unprivileged process gets is bounded by the kernel.
        try socket.setBuffers(CInt(8 * limits.packetBytes))
        state = LinkState(own, expecting: expected, limits: limits)
        self.handler = handler
        self.socket = socket
        watch = try loop.watch(self.socket.descriptor, for: .readable) { [weak self] in self?.ready($0) }
        enqueue(state.hello(), [])
        flush()
    }

    deinit {
        if let watch { loop.unwatch(watch) }
    }

    // MARK: - Sending

    /// Sends a message, or keeps it until the peer reads. One that is sent to a closed link is dropped.
    ///
    /// - Precondition: the packet is within the limit, and there are as many descriptors as the message says.
    public func send(_ message: Outgoing, _ descriptors: [SharedDescriptor] = []) {
        guard isOpen else { return }
        precondition(descriptors.count == message.descriptors, "a message with the wrong number of descriptors")
        let bytes = state.frame(message)
        precondition(bytes.count <= limits.packetBytes, "a message of \(bytes.count) bytes")
        enqueue(bytes, descriptors)
        if !isWaitingToWrite { flush() }
    }

    /// Says why, if the peer still reads, and closes. The handler hears it, from the loop.
    public func close(_ reason: String) {
        guard isOpen else { return }
        let goodbye = state.goodbye(reason)
        if queueStart == queue.count { _ = try? socket.send(goodbye) }
        end(reason)
    }

    private func enqueue(_ bytes: [UInt8], _ descriptors: [SharedDescriptor]) {
        queue.append((bytes, descriptors))
        queuedBytes += bytes.count
        guard queuedBytes > limits.queuedBytes || queue.count - queueStart > limits.queuedPackets else { return }
        end("the peer does not read: \(queuedBytes) bytes wait for it")
    }

    private func flush() {
        while queueStart < queue.count, isOpen {
            let packet = queue[queueStart]
            let sent: PacketSocket.Sent
            do throws(SystemError) {
                sent = try socket.send(packet.bytes, packet.descriptors)
            } catch {
                return end("cannot send: \(error)")
            }
            switch sent {
            case .closed:
                // What the peer has said before is still to be read.
                return setWaiting(false)
            case .wouldBlock: return setWaiting(true)
            case .sent:
                queue[queueStart].descriptors = []
                queueStart += 1
                queuedBytes -= packet.bytes.count
            }
        }
        queue.removeAll(keepingCapacity: queue.count <= 64)
        queueStart = 0
        setWaiting(false)
    }

    private func setWaiting(_ isWaiting: Bool) {
        guard isWaiting != isWaitingToWrite, let watch else { return }
        isWaitingToWrite = isWaiting
        do throws(SystemError) {
            try loop.rewatch(watch, for: isWaiting ? [.readable, .writable] : .readable)
        } catch {
            end("cannot be watched: \(error)")
        }
    }

    // MARK: - Receiving

    /// Takes messages from the peer now, and sends what waits for it, for a caller that cannot return to the loop yet.
    /// The handler is called before this returns.
    ///
    /// - Parameter limit: how long nothing may happen.
    /// - Throws: ``SystemError`` if it cannot be waited.
    public func turn(waitingAtMost limit: Duration) throws(SystemError) {
        guard isOpen else { return }
        ready(try socket.wait(for: isWaitingToWrite ? [.readable, .writable] : .readable, atMost: limit))
    }

    private func ready(_ readiness: EventLoop.Readiness) {
        if readiness.contains(.writable) { flush() }
        guard isOpen, !readiness.isDisjoint(with: [.readable, .hangup, .error]) else { return }
        // Some packets, so that a peer that writes without end does not keep the loop.
        withUnsafeTemporaryAllocation(byteCount: limits.packetBytes, alignment: 8) { buffer in
            for _ in 0..<64 where isOpen {
                guard receive(buffer) else { return }
            }
        }
    }

    /// - Returns: whether more may wait.
    private func receive(_ buffer: UnsafeMutableRawBufferPointer) -> Bool {
        let received: PacketSocket.Received
        do throws(SystemError) { received = try socket.receive(into: buffer) } catch {
            end("cannot receive: \(error)")
            return false
        }
        switch received {
        case .wouldBlock: return false
        case .closed:
            end("the peer has closed")
            return false
        case .truncated(let what):
            close("the peer has sent \(what)")
            return false
        case .packet(let count, let descriptors):
            let packet = UnsafeRawBufferPointer(rebasing: buffer[..<count])
            deliver(state.receive(packet, descriptors: descriptors.count), descriptors)
            return true
        }
    }

    private func deliver(_ received: LinkState<Incoming, Outgoing>.Received, _ descriptors: [SharedDescriptor]) {
        switch received {
        case .hello(let hello):
            self.hello = hello
            handler?(.opened(hello))
        case .message(let message): handler?(.message(message, descriptors))
        case .goodbye(let reason): end("the peer has closed: \(reason)")
        case .violation(let reason): close(reason)
        }
    }

    private func end(_ reason: String) {
        guard let watch else { return }
        loop.unwatch(watch)
        self.watch = nil
        queue = []
        (queueStart, queuedBytes) = (0, 0)
        // Not from inside of what the holder does now. The link lives until then.
        loop.enqueue { [self] in
            handler?(.closed(reason))
            handler = nil
        }
    }
}

@available(*, unavailable)
extension Link: Sendable {}
