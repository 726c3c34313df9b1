// SPDX-License-Identifier: Apache-2.0

/// A row of streams that wait for the same thing; linked through the streams themselves.
struct HTTP2SlotList<Row: HTTP2SlotRow>: BitwiseCopyable {
    private(set) var first: UnsafeMutablePointer<HTTP2StreamSlot>?
    private var last: UnsafeMutablePointer<HTTP2StreamSlot>?

    @inline(__always)
    var isEmpty: Bool { first == nil }

    /// Puts `slot` at the end, if it is not in the row.
    @inline(__always)
    mutating func append(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        guard !Row.link(slot).isListed else { return }
        Row.setLink(slot, HTTP2SlotLink(next: nil, previous: last, isListed: true))
        if let last {
            var link = Row.link(last)
            link.next = slot
            Row.setLink(last, link)
        } else {
            first = slot
        }
        last = slot
    }

    /// Takes `slot` out, if it is in the row.
    @inline(__always)
    mutating func remove(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) {
        let link = Row.link(slot)
        guard link.isListed else { return }
        Row.setLink(slot, HTTP2SlotLink())
        if let previous = link.previous {
            var other = Row.link(previous)
            other.next = link.next
            Row.setLink(previous, other)
        } else {
            first = link.next
        }
        if let next = link.next {
            var other = Row.link(next)
            other.previous = link.previous
            Row.setLink(next, other)
        } else {
            last = link.previous
        }
    }
}

/// A stream's neighbours in a row.
struct HTTP2SlotLink: BitwiseCopyable {
    var next: UnsafeMutablePointer<HTTP2StreamSlot>?
    var previous: UnsafeMutablePointer<HTTP2StreamSlot>?
    var isListed = false
}

/// Which row it is, and where a stream has its link.
protocol HTTP2SlotRow {
    static func link(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) -> HTTP2SlotLink
    static func setLink(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>, _ link: HTTP2SlotLink)
}

/// Streams that have content to send and an open window.
enum HTTP2ReadyRow: HTTP2SlotRow {
    @inline(__always)
    static func link(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) -> HTTP2SlotLink { slot.pointee.ready }
    @inline(__always)
    static func setLink(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>, _ link: HTTP2SlotLink) {
        slot.pointee.ready = link
    }
}

/// Streams whose last frame of ours is made and not sent, in the order of those frames.
enum HTTP2EndingRow: HTTP2SlotRow {
    @inline(__always)
    static func link(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>) -> HTTP2SlotLink { slot.pointee.ending }
    @inline(__always)
    static func setLink(_ slot: UnsafeMutablePointer<HTTP2StreamSlot>, _ link: HTTP2SlotLink) {
        slot.pointee.ending = link
    }
}
