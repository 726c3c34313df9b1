// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// What costs less when much moves: large blocks, and several pieces with one call.
extension Channel {
    /// Reads once: into a large block if the last read has filled the one that there was.
    mutating func fillMuch(_ pool: inout BufferPool) -> Fill {
        if state.contains(.readsMuch), mayRead { input.enlarge(&pool) }
        // A read into what little is left behind the bytes would cost as much as any other.
        if input.room < input.capacity / 2 { input.compact(to: 0) }
        let result = fill(&pool)
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
        let taken = pieces.send(to: descriptor)
        if taken >= 0 {
            sent &+= UInt64(truncatingIfNeeded: taken)
            return taken
        }
        if taken == StreamSocket.wouldBlock {
            state.remove(.writable)
            return 0
        }
        return taken == StreamSocket.interrupted ? 0 : -1
    }
}
