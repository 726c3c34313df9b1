// SPDX-License-Identifier: Apache-2.0

/// The header of a frame (RFC 9113 section 4.1).
struct HTTP2Frame: BitwiseCopyable, Equatable {
    /// Of its payload, in bytes.
    var length: UInt32
    var kind: UInt8
    var flags: UInt8
    var stream: Int32

    static let headerLength = 9

    /// RFC 9113 section 6.
    enum Kind {
        static let data: UInt8 = 0
        static let headers: UInt8 = 1
        static let priority: UInt8 = 2
        static let resetStream: UInt8 = 3
        static let settings: UInt8 = 4
        static let pushPromise: UInt8 = 5
        static let ping: UInt8 = 6
        static let goAway: UInt8 = 7
        static let windowUpdate: UInt8 = 8
        static let continuation: UInt8 = 9
        /// RFC 9218 section 7.1.
        static let priorityUpdate: UInt8 = 16
    }

    enum Flag {
        static let acknowledgement: UInt8 = 0x1
        static let endStream: UInt8 = 0x1
        static let endHeaders: UInt8 = 0x4
        static let padded: UInt8 = 0x8
        static let priority: UInt8 = 0x20
    }

    @inline(__always)
    func has(_ flag: UInt8) -> Bool { flags & flag != 0 }

    /// Writes it to 9 bytes at `place`.
    @inline(__always)
    func write(to place: UnsafeMutableRawPointer) {
        let first =
            UInt64(length) << 40 | UInt64(kind) << 32 | UInt64(flags) << 24 | UInt64(UInt32(bitPattern: stream) >> 8)
        place.storeBytes(of: first.bigEndian, as: UInt64.self)
        (place + 8).storeBytes(of: UInt8(truncatingIfNeeded: stream), as: UInt8.self)
    }
}

/// The settings of RFC 9113 section 6.5.2, and later ones.
enum HTTP2Setting {
    static let headerTableSize: UInt16 = 1
    static let enablePush: UInt16 = 2
    static let maxConcurrentStreams: UInt16 = 3
    static let initialWindowSize: UInt16 = 4
    static let maxFrameSize: UInt16 = 5
    static let maxHeaderListSize: UInt16 = 6
    /// RFC 8441 section 3.
    static let enableConnectProtocol: UInt16 = 8
    /// RFC 9218 section 2.1.
    static let noRFC7540Priorities: UInt16 = 9
}
