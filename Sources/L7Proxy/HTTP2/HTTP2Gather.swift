// SPDX-License-Identifier: Apache-2.0

/// What has come of a frame, or of a header block, that is not whole yet. It has memory only meanwhile, and little more than
/// what has come.
struct HTTP2Gather: ~Copyable {
    private let pool: Unmanaged<HTTP2MemoryPool>
    private var base: UnsafeMutableRawPointer?
    private(set) var count = 0
    private var capacity = 0

    init(pool: Unmanaged<HTTP2MemoryPool>) { self.pool = pool }

    deinit { pool._withUnsafeGuaranteedRef { $0.deallocate(base) } }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    mutating func append(_ piece: UnsafeRawBufferPointer) {
        guard let source = piece.baseAddress, !piece.isEmpty else { return }
        if capacity - count < piece.count {
            // Twice as much, but not where that is more than any frame has.
            let larger = max(256, min(2 * capacity, capacity + 16_384), count + piece.count)
            let memory = pool._withUnsafeGuaranteedRef { $0.allocate(larger) }
            if let base { memory.copyMemory(from: base, byteCount: count) }
            pool._withUnsafeGuaranteedRef { $0.deallocate(base) }
            (base, capacity) = (memory, larger)
        }
        base.unsafelyUnwrapped.advanced(by: count).copyMemory(from: source, byteCount: piece.count)
        count += piece.count
    }

    /// Keeps only those of its bytes that are `kept`.
    mutating func keep(_ kept: UnsafeRawBufferPointer) {
        count = kept.count
        guard let base, let source = kept.baseAddress else { return }
        base.copyMemory(from: source, byteCount: kept.count)
    }

    @inline(__always)
    mutating func removeAll() {
        guard let base else { return }
        pool._withUnsafeGuaranteedRef { $0.deallocate(base) }
        self.base = nil
        (count, capacity) = (0, 0)
    }
}
