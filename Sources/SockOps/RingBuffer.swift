// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// The reading end of a ring buffer map.
///
/// Used by one thread at a time, so it is not `Sendable`. There must be one reader only: the
/// consumer position is shared memory that belongs to the map.
public struct RingBuffer: ~Copyable {
    /// Keeps the map open: libbpf borrows the descriptor.
    private let handle: MapHandle
    private let ring: OpaquePointer  // struct ring_buffer *
    private let lent: UnsafeMutablePointer<Lent>

    /// What the C callback reaches: set for the length of one ``consume(limit:_:)`` only.
    private struct Lent {
        var body: (UnsafeRawBufferPointer) -> Void
        var remaining: Int
    }

    /// - Throws: ``BPFError`` with `.open` if the map is not a ring buffer or cannot be mapped.
    public init(_ handle: consuming MapHandle) throws(BPFError) {
        try handle.require(types: [BPF_MAP_TYPE_RINGBUF], keySize: 0, valueSize: 0)
        let lent = UnsafeMutablePointer<Lent>.allocate(capacity: 1)
        lent.initialize(to: Lent(body: { _ in }, remaining: 0))
        guard let ring = ring_buffer__new(handle.descriptor.rawValue, onSample, lent, nil) else {
            let code = errno
            lent.deinitialize(count: 1)
            lent.deallocate()
            throw BPFError(.open, "ring buffer \(handle.name)", errnoCode: code)
        }
        self.handle = handle
        self.ring = ring
        self.lent = lent
    }

    deinit {
        ring_buffer__free(ring)
        lent.deinitialize(count: 1)
        lent.deallocate()
    }

    /// Readable (EPOLLIN) when there are events. Lent: valid as long as this value, do not close it.
    public var epollDescriptor: CInt { ring_buffer__epoll_fd(ring) }

    /// Calls `body` with each event that has been submitted, oldest first, and frees it in the buffer.
    ///
    /// The bytes are the buffer itself: valid until `body` returns, nothing is copied or allocated.
    ///
    /// - Parameter limit: at most so many events; the descriptor stays readable if more are there.
    /// - Returns: the number of events.
    @discardableResult
    public func consume(limit: Int = .max, _ body: (UnsafeRawBufferPointer) -> Void) throws(BPFError) -> Int {
        guard limit > 0 else { return 0 }
        let status = withoutActuallyEscaping(body) { body -> CInt in
            lent.pointee = Lent(body: body, remaining: limit)
            // Before `body` goes: nothing may stay that refers to it.
            defer { lent.pointee.body = { _ in } }
            return ring_buffer__consume(ring)
        }
        // ECANCELED is our own: the limit was reached.
        guard status >= 0 || status == -ECANCELED else {
            throw BPFError(.consume, "ring buffer \(handle.name)", errnoCode: status)
        }
        return limit - lent.pointee.remaining
    }

    /// A negative answer stops libbpf after this event, which counts as consumed.
    private static let stop: CInt = -ECANCELED

    fileprivate static func deliver(
        _ context: UnsafeMutableRawPointer?, _ data: UnsafeMutableRawPointer?, _ size: Int
    ) -> CInt {
        guard let lent = context?.assumingMemoryBound(to: Lent.self) else { return stop }
        lent.pointee.body(UnsafeRawBufferPointer(start: data, count: size))
        lent.pointee.remaining -= 1
        return lent.pointee.remaining > 0 ? 0 : stop
    }
}

private func onSample(
    _ context: UnsafeMutableRawPointer?, _ data: UnsafeMutableRawPointer?, _ size: Int
) -> CInt {
    RingBuffer.deliver(context, data, size)
}
