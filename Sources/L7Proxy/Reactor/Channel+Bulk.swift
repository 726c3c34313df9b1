// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// What costs less when much moves: large blocks, and several pieces with one call.
extension Channel {
    /// Reads once: into a large block if the last read has filled the one that there was.
    ///
    /// - Parameter unit: What is read into an empty block ends with it, and so many bytes, again and again, fill the rest up to
    ///   there: in front of them there is room for what comes before each; see ``HTTP2Session/offerFramed(_:_:)``.
    mutating func fillMuch(_ pool: inout BufferPool, unit: Int = 1) -> Fill {
        if state.contains(.readsMuch), mayRead { input.enlarge(&pool) }
        var floor = 0
        if unit > 1, mayRead, input.isEmpty {
            guard input.borrow(&pool) else { return .noMemory }
            floor = input.capacity - (input.capacity - HTTP2Session.frameRoom) / unit * unit
            input.start = floor
            input.end = floor
        }
        // A read into what little is left behind the bytes would cost as much as any other.
        if input.room < input.capacity / 2 { input.compact(to: 0) }
        let result = fill(&pool, floor: floor)
        guard case .received(let count) = result else { return result }
        if input.room == 0 {
            state.insert(.readsMuch)
        } else if count < BufferPool.blockSize / 2 {
            state.remove(.readsMuch)
        }
        return result
    }

    /// Sends pieces of memory, one after another. - Returns: As ``send(_:_:more:)``.
    mutating func send(_ pieces: borrowing StreamPieces) -> Int {
        if state.contains(.broken) { return -1 }
        guard state.contains(.writable) else { return 0 }
        return noteSent(pieces.send(to: descriptor))
    }
}
