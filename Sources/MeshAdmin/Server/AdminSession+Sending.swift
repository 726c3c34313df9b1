// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// Answers on their way to the client: lists that are pulled, bytes that are written, and patience with a slow reader.
extension AdminSession {
    /// Encoded bytes of a list made in one turn of the loop: other work of the agent waits for it.
    private static let listChunk = 64 << 10

    /// Starts a list; the answer ends with it unless `following`.
    func list<Items: Sequence>(_ items: Items, id: UInt64, following: Bool = false) where Items.Element: Codable {
        var iterator = items.makeIterator()
        isFollowing = following
        outbound.isListing = true
        nextOfList = { [limits] () throws(AdminError) in
            guard let item = iterator.next() else { return nil }
            let line = try WireJSON.line(ResponseFrame(id: id, item: item))
            guard line.count <= limits.response else {
                throw AdminError(
                    .tooLarge, "an item of the answer has \(line.count) bytes, the limit is \(limits.response)")
            }
            return line
        }
        flush()
    }

    /// A responder that learns from here that its client has gone.
    func responder<Item: Codable & Equatable & Sendable>(id: UInt64) -> Responder<Item> {
        let responder = Responder<Item>(self, id: id)
        cancel = { responder.onCancel?() }
        return responder
    }

    /// A responder whose items follow the list that is still to come.
    func follower(id: UInt64) -> Responder<FlowEvent> {
        outbound.isListing = true
        return responder(id: id)
    }

    /// Sends status reports until the node is ready.
    func waitForReady(id: UInt64, timeout: Duration?, handler: any AdminHandler) {
        statusWait = StatusWait(loop: loop, handler: handler, timeout: timeout, responder: responder(id: id))
        statusWait?.start()
    }

    func finish(_ id: UInt64, _ error: AdminError?) {
        let frame = ResponseFrame<Bool>(id: id, end: error == nil ? true : nil, error: error)
        if let line = encode(frame) { outbound.append(line) }
        cancel = nil
        becomeIdle()
    }

    func becomeIdle() {
        phase = .idle
        isFollowing = false
        statusWait?.stop()
        statusWait = nil
        setTimer(outbound.isEmpty ? limits.idleTimeout : limits.stalledTimeout)
        flush()
    }

    /// Writes what the kernel takes, and makes more of a list when there is room.
    func flush() {
        fill()
        guard phase != .closed else { return }
        do throws(SystemError) {
            var blocked = false
            while !outbound.isEmpty {
                try outbound.write { (bytes) throws(SystemError) in
                    switch try stream.write(bytes) {
                    case .bytes(let count): return count
                    case .wouldBlock:
                        blocked = true
                        return 0
                    case .closed: throw SystemError("send", errnoCode: 0)
                    }
                }
                if blocked { break }
                setTimer(phase == .idle ? limits.idleTimeout : limits.stalledTimeout)
                if outbound.isEmpty, case .answering(let id) = phase {
                    outbound.settle { Self.lostNotice($0, id: id) }
                }
            }
            try setInterest()
        } catch {
            return close()
        }
        guard outbound.isEmpty else { return }
        if let whenSent {
            self.whenSent = nil
            whenSent()
        }
        if phase == .closing { close() }
    }

    func fill() {
        guard nextOfList != nil, case .answering(let id) = phase else { return }
        do throws(AdminError) {
            var made = 0
            while made < Self.listChunk, outbound.count < limits.outbound, let next = nextOfList {
                guard let line = try next() else {
                    nextOfList = nil
                    outbound.endList { Self.lostNotice($0, id: id) }
                    if !isFollowing { finish(id, nil) }
                    return
                }
                outbound.append(line)
                made += line.count
            }
        } catch {
            end(error, whenSent: nil)
        }
    }

    func setInterest() throws(SystemError) {
        let wanted: EventLoop.Readiness =
            outbound.isEmpty && nextOfList == nil ? .readable : [.readable, .writable]
        guard wanted != interest, let watch else { return }
        interest = wanted
        try loop.rewatch(watch, for: wanted)
    }

    /// Restarts the limit on silence. A follower may be silent as long as it likes: it only loses events.
    func setTimer(_ delay: Duration) {
        if let timer { loop.cancel(timer) }
        timer = loop.schedule(after: delay) { [weak self] in self?.timeOut() }
    }

    func timeOut() {
        // The agent is at work, or nothing has happened that a follower could be told.
        let owesUsNothing = nextOfList == nil && (isFollowing || outbound.isEmpty)
        if case .answering = phase, owesUsNothing { return setTimer(limits.stalledTimeout) }
        close()
    }

    func encode<Item: Codable>(_ frame: ResponseFrame<Item>) -> [UInt8]? {
        do throws(AdminError) {
            return try WireJSON.line(frame)
        } catch {
            close()
            return nil
        }
    }

    static func lostNotice(_ count: UInt64, id: UInt64) -> [UInt8] {
        // Only numbers: cannot fail to encode.
        Array("{\"id\":\(id),\"lost\":\(count)}\n".utf8)
    }
}
