// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// The listening sockets of a worker, which its poller watches by their places.
///
/// - Parameter Label: what whoever added a socket calls it, and what else is to be known of what it accepts.
struct ListenerSet<Label: BitwiseCopyable> {
    struct Listener {
        let descriptor: CInt
        let label: Label
    }

    enum Accepted {
        case socket(CInt, from: StreamEndpoint)
        case none
        /// Out of descriptors or memory: the listener would be reported for ever.
        case exhausted
    }

    /// Connections that one listener may take in one turn.
    static var acceptsPerTurn: Int { 64 }
    /// Milliseconds for which nothing is accepted when there are no more descriptors.
    static var pause: UInt64 { 100 }

    /// `nil`: it was removed. Its place is used again, so that tokens stay right.
    private var places: [Listener?] = []
    private(set) var isPaused = false

    /// The listener whose token has this place; `nil` if it was removed meanwhile, or nothing is to be accepted now.
    subscript(place: Int) -> Listener? { place < places.count && !isPaused ? places[place] : nil }

    /// Takes a socket over; one that cannot listen is closed.
    mutating func add(_ descriptor: CInt, _ label: Label, to poller: borrowing Poller) {
        guard StreamSocket.prepare(descriptor) == 0 else { return StreamSocket.close(descriptor) }
        let listener = Listener(descriptor: descriptor, label: label)
        let place = places.firstIndex { $0 == nil } ?? places.count
        if place < places.count { places[place] = listener } else { places.append(listener) }
        if !isPaused { watch(place, poller) }
    }

    private mutating func watch(_ place: Int, _ poller: borrowing Poller) {
        guard let listener = places[place] else { return }
        let token = Token(.listener, SlabHandle(index: UInt32(place), generation: 0)).rawValue
        do throws(SystemError) { try poller.addListener(listener.descriptor, token: token) } catch {
            StreamSocket.close(listener.descriptor)
            places[place] = nil
        }
    }

    mutating func remove(from poller: borrowing Poller, where matches: (Label) -> Bool) {
        for place in places.indices {
            guard let listener = places[place], matches(listener.label) else { continue }
            // Others hold the socket too: closing this descriptor alone would leave it in the poller (epoll(7)).
            if !isPaused { poller.remove(listener.descriptor) }
            StreamSocket.close(listener.descriptor)
            places[place] = nil
        }
    }

    /// Lets connections wait in the kernel's queues for a moment.
    mutating func pause(_ poller: borrowing Poller) {
        guard !isPaused else { return }
        isPaused = true
        for case let listener? in places { poller.remove(listener.descriptor) }
    }

    mutating func resume(_ poller: borrowing Poller) {
        isPaused = false
        for place in places.indices { watch(place, poller) }
    }
}

extension ListenerSet.Listener {
    func accept() -> ListenerSet.Accepted {
        var peer = StreamEndpoint(high: 0, low: 0, port: 0)
        let result = StreamSocket.accept(descriptor, from: &peer)
        if result >= 0 { return .socket(CInt(result), from: peer) }
        return result == StreamSocket.wouldBlock || result == StreamSocket.interrupted ? .none : .exhausted
    }
}
