// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The first 48 bytes of every connection: what the client wants of the server.
/// Both ends run on one machine, so the fields are in its byte order.
struct Header: BitwiseCopyable {
    static let size = 48
    static let magic: UInt32 = 0x6d6c_6432

    var magic = Header.magic
    var mode: Mode.RawValue
    /// Bytes of a request, or of one receive of a sink.
    var requestSize: UInt32 = 0
    var responseSize: UInt32 = 0
    var seed: UInt64 = 0
    /// Of a mix connection: the behaviours to choose from, see ``MixPlan``.
    var behaviours: UInt64 = 0
    /// Of a mix connection: the most bytes of one direction.
    var largest: UInt64 = 0
    var reserved: UInt64 = 0

    enum Mode: UInt32 {
        case requestResponse = 1
        case stream = 2
        case oneShot = 3
        /// Answers with the nanoseconds of processor time the server has used.
        case processorTime = 4
        case mix = 5
        /// Answers with the server's counters when no mix connection is open.
        case mixReport = 6
    }

    init(_ mode: Mode) { self.mode = mode.rawValue }

    func send(on socket: borrowing Socket) throws(LoadError) {
        var copy = self
        try withUnsafeBytes(of: &copy) { (bytes) throws(LoadError) in
            try socket.sendAll(bytes.baseAddress!, Self.size)
        }
    }

    /// The client's header; nil if it closed without one.
    ///
    /// - Throws: ``LoadError`` if something else speaks on this port.
    static func receive(on socket: borrowing Socket) throws(LoadError) -> Header? {
        var header = Header(.requestResponse)
        let complete = try withUnsafeMutableBytes(of: &header) { (bytes) throws(LoadError) in
            try socket.receiveAll(bytes.baseAddress!, Self.size)
        }
        guard complete else { return nil }
        guard header.magic == Self.magic, Mode(rawValue: header.mode) != nil else {
            throw LoadError("a connection does not begin with a meshload header")
        }
        return header
    }
}
