// SPDX-License-Identifier: Apache-2.0

/// Names an element of a ``Slab``. Stale after the element was given back: the slab then does not find it.
struct SlabHandle: Equatable, Sendable, BitwiseCopyable {
    /// Position in the slab.
    var index: UInt32
    /// Of the element's use; 24 bits, so that an epoll token has room for a kind.
    var generation: UInt32

    static let generationMask: UInt32 = 0xff_ffff
}

/// Elements that are made once and used again and again, at addresses that never change.
///
/// Taking and giving back cost a few loads; memory is allocated a chunk at a time when all elements are in use, and
/// never freed before the slab is. What an element owns (tables, buffers) it keeps for its next user.
struct Slab<Element: ~Copyable>: ~Copyable {
    private struct Meta: BitwiseCopyable {
        var generation: UInt32
        /// Next free element; ``Slab/none`` at the end.
        var next: UInt32
        var isLive: Bool
    }

    private static var chunkSize: Int { 64 }
    private static var none: UInt32 { .max }

    /// The most elements that may be in use.
    let capacity: Int
    private(set) var liveCount = 0
    private var made = 0
    private var firstFree: UInt32 = .max
    private let values: UnsafeMutablePointer<UnsafeMutablePointer<Element>>
    private let metas: UnsafeMutablePointer<UnsafeMutablePointer<Meta>>
    private let make: (UInt32) -> Element

    /// - Parameter make: A new element, given its index.
    init(capacity: Int, make: @escaping (UInt32) -> Element) {
        precondition(capacity > 0 && capacity < Int(UInt32.max), "no such capacity")
        let chunks = (capacity + Self.chunkSize - 1) / Self.chunkSize
        self.capacity = capacity
        self.make = make
        values = .allocate(capacity: chunks)
        metas = .allocate(capacity: chunks)
    }

    deinit {
        var left = made
        var chunk = 0
        while left > 0 {
            values[chunk].deinitialize(count: Self.chunkSize)
            values[chunk].deallocate()
            metas[chunk].deallocate()
            left -= Self.chunkSize
            chunk += 1
        }
        values.deallocate()
        metas.deallocate()
    }

    @inline(__always)
    private func meta(_ index: UInt32) -> UnsafeMutablePointer<Meta> {
        metas[Int(index) / Self.chunkSize] + Int(index) % Self.chunkSize
    }

    @inline(__always)
    private func value(_ index: UInt32) -> UnsafeMutablePointer<Element> {
        values[Int(index) / Self.chunkSize] + Int(index) % Self.chunkSize
    }

    /// Takes an element, in the state in which it was left. - Returns: `nil` if ``capacity`` are in use.
    mutating func take() -> (element: UnsafeMutablePointer<Element>, handle: SlabHandle)? {
        guard liveCount < capacity else { return nil }
        if firstFree == Self.none { grow() }
        let index = firstFree
        let meta = meta(index)
        firstFree = meta.pointee.next
        meta.pointee.isLive = true
        liveCount += 1
        return (value(index), SlabHandle(index: index, generation: meta.pointee.generation))
    }

    /// - Precondition: The element is in use.
    mutating func give(back index: UInt32) {
        let meta = meta(index)
        precondition(meta.pointee.isLive, "an element given back twice")
        meta.pointee.isLive = false
        meta.pointee.generation = (meta.pointee.generation &+ 1) & SlabHandle.generationMask
        meta.pointee.next = firstFree
        firstFree = index
        liveCount -= 1
    }

    /// - Returns: `nil` if the handle is stale.
    @inline(__always)
    func find(_ handle: SlabHandle) -> UnsafeMutablePointer<Element>? {
        guard Int(handle.index) < made else { return nil }
        let meta = meta(handle.index)
        return meta.pointee.isLive && meta.pointee.generation == handle.generation ? value(handle.index) : nil
    }

    /// The element at an index that is known to be in use.
    @inline(__always)
    func element(_ index: UInt32) -> UnsafeMutablePointer<Element> { value(index) }

    /// Calls `body` with every element in use. Elements may be given back meanwhile, not taken.
    func forEachLive(_ body: (UnsafeMutablePointer<Element>) -> Void) {
        for index in 0..<UInt32(made) where meta(index).pointee.isLive { body(value(index)) }
    }

    /// Those in use that `isWanted`, for a caller that gives some of them back, or takes new ones, meanwhile.
    func live(where isWanted: (borrowing Element) -> Bool) -> [UnsafeMutablePointer<Element>] {
        var live: [UnsafeMutablePointer<Element>] = []
        forEachLive { if isWanted($0.pointee) { live.append($0) } }
        return live
    }

    private mutating func grow() {
        let chunk = made / Self.chunkSize
        let values = UnsafeMutablePointer<Element>.allocate(capacity: Self.chunkSize)
        let metas = UnsafeMutablePointer<Meta>.allocate(capacity: Self.chunkSize)
        for offset in 0..<Self.chunkSize {
            let index = UInt32(made + offset)
            (values + offset).initialize(to: make(index))
            let next = offset + 1 < Self.chunkSize ? index + 1 : Self.none
            (metas + offset).initialize(to: Meta(generation: 0, next: next, isLive: false))
        }
        (self.values + chunk).initialize(to: values)
        (self.metas + chunk).initialize(to: metas)
        firstFree = UInt32(made)
        made += Self.chunkSize
    }
}
