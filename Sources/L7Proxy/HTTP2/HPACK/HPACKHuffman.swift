// SPDX-License-Identifier: Apache-2.0

/// Reads strings in the Huffman code of HPACK (RFC 7541 section 5.2 and appendix B). Nothing is written in it: on the way to
/// the next pod a byte costs less than to make it shorter, and than to read it again.
///
/// The code is canonical: codes of one length follow each other in the order of their symbols, so that the lengths are all
/// there is to know. Built once for the process.
struct HPACKHuffman: Sendable {
    static let shared = HPACKHuffman()

    private static let longest = 30
    /// Bits that are looked up at once: those of all letters, digits and of most of what stands in a URL.
    private static let direct = 8
    /// The end of the string, which must not be in it.
    private static let endOfString: UInt16 = 256

    /// By the next ``direct`` bits: the symbol, and the length of its code above; 0 if that is longer.
    private nonisolated(unsafe) let short: UnsafePointer<UInt16>
    /// By length: the first code, and how many there are.
    private nonisolated(unsafe) let firstCode: UnsafePointer<UInt32>
    private nonisolated(unsafe) let codeCount: UnsafePointer<UInt32>
    /// By length: where its symbols begin in ``symbols``.
    private nonisolated(unsafe) let firstSymbol: UnsafePointer<UInt32>
    /// In the order of their codes.
    private nonisolated(unsafe) let symbols: UnsafePointer<UInt16>

    private init() {
        let lengths = Self.lengths
        precondition(lengths.count == 257, "256 bytes and the end of the string")
        let short = UnsafeMutablePointer<UInt16>.allocate(capacity: 1 << Self.direct)
        short.initialize(repeating: 0, count: 1 << Self.direct)
        let places = Self.longest + 1
        let firstCode = UnsafeMutablePointer<UInt32>.allocate(capacity: places)
        let codeCount = UnsafeMutablePointer<UInt32>.allocate(capacity: places)
        let firstSymbol = UnsafeMutablePointer<UInt32>.allocate(capacity: places)
        let symbols = UnsafeMutablePointer<UInt16>.allocate(capacity: lengths.count)
        var code: UInt32 = 0
        var position = 0
        for length in 0..<places {
            code <<= 1
            (firstCode + length).initialize(to: code)
            (firstSymbol + length).initialize(to: UInt32(position))
            let start = position
            for (symbol, own) in lengths.enumerated() where Int(own) == length {
                (symbols + position).initialize(to: UInt16(symbol))
                position += 1
                if length <= Self.direct {
                    let spare = Self.direct - length
                    let first = Int(code) << spare
                    for place in first..<(first + 1 << spare) { short[place] = UInt16(length) << 8 | UInt16(symbol) }
                }
                code += 1
            }
            (codeCount + length).initialize(to: UInt32(position - start))
        }
        precondition(code == 1 << UInt32(Self.longest), "the code is complete")
        self.short = UnsafePointer(short)
        self.firstCode = UnsafePointer(firstCode)
        self.codeCount = UnsafePointer(codeCount)
        self.firstSymbol = UnsafePointer(firstSymbol)
        self.symbols = UnsafePointer(symbols)
    }

    /// The most bytes that `count` bytes of code stand for: the shortest code has 5 bits.
    @inline(__always)
    static func bound(_ count: Int) -> Int { count &* 8 / 5 }

    /// Reads the string that `source` is the code of.
    ///
    /// - Parameter target: Room for ``bound(_:)`` bytes.
    /// - Returns: Its length, or -1 if it is none: the end of the string is in it, or what is left at its end is not the
    ///   first bits of that, or a whole byte of them (RFC 7541 section 5.2).
    func decode(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawPointer) -> Int {
        guard let base = source.baseAddress else { return 0 }
        var bits: UInt64 = 0
        var available = 0
        var offset = 0
        var written = 0
        while true {
            if available < Self.longest, offset < source.count {
                if source.count &- offset >= 4 {
                    let word = UInt32(bigEndian: (base + offset).loadUnaligned(as: UInt32.self))
                    bits |= UInt64(word) &<< (32 &- available)
                    available &+= 32
                    offset &+= 4
                } else {
                    let byte = (base + offset).load(as: UInt8.self)
                    bits |= UInt64(byte) &<< (56 &- available)
                    available &+= 8
                    offset &+= 1
                    if available < Self.longest, offset < source.count { continue }
                }
            }
            let entry = short[Int(bits &>> 56)]
            let length = Int(entry &>> 8)
            if length > 0, length <= available {
                (target + written).storeBytes(of: UInt8(truncatingIfNeeded: entry), as: UInt8.self)
                written &+= 1
                bits = bits &<< length
                available &-= length
                continue
            }
            guard length == 0, let (symbol, length) = long(bits, available) else { break }
            guard symbol != Self.endOfString else { return -1 }
            (target + written).storeBytes(of: UInt8(truncatingIfNeeded: symbol), as: UInt8.self)
            written &+= 1
            bits = bits &<< length
            available &-= length
        }
        guard available < 8, offset == source.count else { return -1 }
        return bits == ~(~0 &>> UInt64(available)) ? written : -1
    }

    /// A code that is longer than what is looked up at once, if it is whole.
    @inline(never)
    private func long(_ bits: UInt64, _ available: Int) -> (symbol: UInt16, length: Int)? {
        var length = Self.direct &+ 1
        while length <= min(available, Self.longest) {
            let place = UInt32(truncatingIfNeeded: bits &>> (64 &- length)) &- firstCode[length]
            if place < codeCount[length] { return (symbols[Int(firstSymbol[length] &+ place)], length) }
            length &+= 1
        }
        return nil
    }

    /// Of each symbol's code, in bits (RFC 7541 appendix B).
    private static let lengths: [UInt8] = [
        13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
        28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
        8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
        13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
        28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
        22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
        22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
        19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
        25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
    ]
}
