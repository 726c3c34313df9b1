// SPDX-License-Identifier: Apache-2.0

/// Finds the ``FieldName`` of a name in a message, in a few loads and without a lock, a box or a String.
///
/// An open-addressed table built once for the process. Names of four bytes or more are hashed by their first and last
/// four bytes and their length; a name that is not known nearly always meets an empty slot at once.
struct FieldNameIndex: Sendable {
    private struct Slot {
        var text: UnsafeRawPointer
        var length: UInt8
        var name: FieldName
    }

    /// Six times the number of names, so that an unknown name seldom meets a known one's slot.
    private static let slotBits: UInt32 = 9
    private static let slotMask = 1 << 9 - 1

    /// The longest known name, in bytes.
    private static let longestName = 32

    /// Filled before it is published, never written afterwards: safe from every thread.
    private nonisolated(unsafe) let slots: UnsafeMutablePointer<Slot>

    static let shared = FieldNameIndex()

    private init() {
        let count = Self.slotMask + 1
        slots = .allocate(capacity: count)
        let empty = FieldName.other.text
        slots.initialize(
            repeating: Slot(text: UnsafeRawPointer(empty.utf8Start), length: 0, name: .other), count: count)
        for name in FieldName.allCases where name != .other {
            let text = UnsafeRawPointer(name.text.utf8Start)
            let length = name.text.utf8CodeUnitCount
            precondition(length <= Self.longestName, "the name \(name) is longer than the index can hold")
            var slot = Self.hash(text, length)
            while slots[slot].name != .other { slot = (slot + 1) & Self.slotMask }
            slots[slot] = Slot(text: text, length: UInt8(length), name: name)
        }
    }

    /// - Parameter text: `length` bytes without control characters. With them, `CR` would be taken for `-`.
    /// - Returns: ``FieldName/other`` for a name that is not known, is empty, or is no name at all.
    @inline(__always)
    func recognise(_ text: UnsafeRawPointer, _ length: Int) -> FieldName {
        guard length > 1, length <= Self.longestName else { return .other }
        var slot = Self.hash(text, length)
        while slots[slot].name != .other {
            if Int(slots[slot].length) == length, Self.same(text, slots[slot].text, length) { return slots[slot].name }
            slot = (slot &+ 1) & Self.slotMask
        }
        return .other
    }

    /// Whether a name that was recognised stands as in ``FieldName/text``. Bit 5 is what may differ (see `same`): letters in
    /// lower case, digits and `-` have it.
    @inline(__always)
    static func isLowerCase(_ text: UnsafeRawPointer, _ length: Int) -> Bool {
        if length >= 8 {
            let lower: UInt64 = 0x2020_2020_2020_2020
            var all = (text + (length &- 8)).loadUnaligned(as: UInt64.self)
            var offset = 0
            while offset &+ 8 < length {
                all &= (text + offset).loadUnaligned(as: UInt64.self)
                offset &+= 8
            }
            return all & lower == lower
        }
        var all: UInt8 = 0x20
        for offset in 0..<length { all &= (text + offset).load(as: UInt8.self) }
        return all != 0
    }

    @inline(__always)
    private static func hash(_ text: UnsafeRawPointer, _ length: Int) -> Int {
        var first: UInt32
        var last: UInt32 = 0
        if length >= 4 {
            first = lowercased(text.loadUnaligned(as: UInt32.self))
            last = lowercased((text + (length &- 4)).loadUnaligned(as: UInt32.self))
        } else {
            first = lowercased(UInt32(text.load(as: UInt8.self)) << 8 | UInt32((text + 1).load(as: UInt8.self)))
        }
        first &+= UInt32(truncatingIfNeeded: length)
        return Int(((first &* 0xe540_fac5) ^ (last &* 0x39eb_13f9)) &>> (32 &- slotBits))
    }

    @inline(__always)
    private static func lowercased(_ word: UInt32) -> UInt32 { word | 0x2020_2020 }

    /// Whether `text` is `known`, which is in lower case, whatever the case of `text`.
    ///
    /// Setting bit 5 maps, apart from control characters, only the two cases of a letter to that letter; `-` and digits
    /// only map to themselves.
    @inline(__always)
    private static func same(_ text: UnsafeRawPointer, _ known: UnsafeRawPointer, _ length: Int) -> Bool {
        let lower: UInt64 = 0x2020_2020_2020_2020
        if length >= 8 {
            var offset = 0
            var difference: UInt64 = 0
            while offset &+ 8 < length {
                difference |=
                    ((text + offset).loadUnaligned(as: UInt64.self) | lower)
                    ^ (known + offset).loadUnaligned(as: UInt64.self)
                offset &+= 8
            }
            difference |=
                ((text + (length &- 8)).loadUnaligned(as: UInt64.self) | lower)
                ^ (known + (length &- 8)).loadUnaligned(as: UInt64.self)
            return difference == 0
        }
        if length >= 4 {
            let end = length &- 4
            return lowercased(text.loadUnaligned(as: UInt32.self)) == known.loadUnaligned(as: UInt32.self)
                && lowercased((text + end).loadUnaligned(as: UInt32.self))
                    == (known + end).loadUnaligned(as: UInt32.self)
        }
        for index in 0..<length {
            let byte = (text + index).load(as: UInt8.self) | 0x20
            if byte != (known + index).load(as: UInt8.self) { return false }
        }
        return true
    }
}
