// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// Records of a connection whose handshake is done (RFC 8446 section 5), and the few messages that may still come.
///
/// In place of OpenSSL's, whose state of a connection is 20 KB and which copies each byte twice on its way: ciphers are
/// OpenSSL's, and all of a handshake. What a peer can make this do is bounded by what it sends.
struct TLSRecordLayer: ~Copyable {
    /// What is in a record (RFC 8446 section 5.1).
    private enum Content {
        static let (alert, handshake, application) = (UInt8(21), UInt8(22), UInt8(23))
    }
    /// Of alerts (RFC 8446 section 6).
    enum Alert {
        static let (closeNotify, unexpectedMessage, badRecord, recordOverflow) = (UInt8(0), UInt8(10), UInt8(20), UInt8(22))
        static let (illegalParameter, decodeError, internalError, userCanceled) = (UInt8(47), UInt8(50), UInt8(80), UInt8(90))
    }
    /// Of messages (RFC 8446 section 4).
    private enum Message {
        static let (newSessionTicket, keyUpdate) = (UInt32(4), UInt32(24))
    }

    /// Why nothing more can be read.
    enum Failure: Error {
        /// The peer has ended the connection with this alert.
        case refused(UInt8)
        /// The socket has ended without a word.
        case endOfInput
        /// What came is not TLS, or not what the peer has sent: the alert that it is told, and why.
        case broken(UInt8, String)
    }

    /// Records without a byte of the application that may follow one another: tickets, KeyUpdates, empty ones.
    static let mostQuietRecords = 32
    /// Bytes of a ticket, which is not looked at (RFC 8446 section 4.6.1).
    private static let longestTicket = UInt32(1 << 17)
    /// Most that is encrypted in one record: the type of the content is among it.
    private static let longestInner = TLSSession.maximumRecord + 1

    private let isServer: Bool
    private var reading: TLSTraffic
    private var writing: TLSTraffic
    /// The peer has said that nothing follows.
    private var hasEnded = false
    /// We have.
    private(set) var isClosed = false
    private var quietRecords = 0
    /// The front of a message's header that has come, and its bytes; what is left of a message that is not looked at.
    private var (header, headerCount, skipped): (UInt32, Int, Int) = (0, 0, 0)
    /// Decrypted, and did not fit where it was to go.
    private var held: ArraySlice<UInt8> = []
    /// A KeyUpdate goes before the next record; 1: the peer is asked for one too.
    private var owedUpdate: UInt8?

    init(isServer: Bool, reading: consuming TLSTraffic, writing: consuming TLSTraffic) {
        self.isServer = isServer
        self.reading = reading
        self.writing = writing
    }

    /// Gives back what is made anew when it is needed.
    mutating func rest() {
        reading.rest()
        writing.rest()
    }

    // MARK: Writing

    /// Records that were written with the key.
    var written: UInt64 { writing.sequence }

    /// The next record goes with a new key.
    mutating func renewKey(askingPeer: Bool) { owedUpdate = max(owedUpdate ?? 0, askingPeer ? 1 : 0) }

    /// Writes a record, and a KeyUpdate before it that is owed (RFC 8446 section 4.6.3).
    ///
    /// - Precondition: There is room for both: ``TLSSession/leastRoom`` more than what is written.
    /// - Returns: Whether it could be; else there is no memory, and the connection is of no more use.
    mutating func write(_ bytes: UnsafeRawBufferPointer, to wire: inout TLSWire) -> Bool {
        if let request = owedUpdate {
            owedUpdate = nil
            guard write([UInt8(Message.keyUpdate), 0, 0, 1, request], Content.handshake, to: &wire), writing.renew() else {
                return false
            }
        }
        return seal(bytes, Content.application, to: &wire)
    }

    /// Says that nothing follows. - Returns: Whether there was room for it.
    mutating func close(_ wire: inout TLSWire) -> Bool {
        if isClosed { return true }
        guard alert(Alert.closeNotify, to: &wire) else { return false }
        isClosed = true
        return true
    }

    private mutating func alert(_ description: UInt8, to wire: inout TLSWire) -> Bool {
        // Levels mean nothing any more (RFC 8446 section 6).
        write([description == Alert.closeNotify ? 1 : 2, description], Content.alert, to: &wire)
    }

    private mutating func write(_ bytes: [UInt8], _ type: UInt8, to wire: inout TLSWire) -> Bool {
        guard wire.room >= bytes.count + TLSTraffic.overhead else { return false }
        return bytes.withUnsafeBytes { seal($0, type, to: &wire) }
    }

    @inline(__always)
    private mutating func seal(_ bytes: UnsafeRawBufferPointer, _ type: UInt8, to wire: inout TLSWire) -> Bool {
        guard let start = wire.output.baseAddress, writing.seal(bytes, type: type, to: start + wire.produced) else {
            return false
        }
        wire.produced &+= bytes.count &+ TLSTraffic.overhead
        return true
    }

    // MARK: Reading

    /// Decrypts the next record that has something for the application.
    mutating func read(
        _ wire: inout TLSWire, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Failure) -> TLSSession.Progress {
        if !held.isEmpty { return .transferred(takeHeld(buffer)) }
        while !hasEnded {
            guard let record = try next(wire) else { return .needsInput }
            let length = record.count - TLSTraffic.headerBytes - TLSTraffic.tagBytes
            // Its last byte need not fit: mostly it is the type.
            let isHeld = length - 1 > buffer.count
            let count =
                isHeld
                ? try hold(record, length)
                : try take(record, UnsafeMutableRawBufferPointer(rebasing: buffer[..<(length - 1)]))
            wire.consumed &+= record.count
            if count > 0 { return .transferred(isHeld ? takeHeld(buffer) : count) }
        }
        return .endOfStream
    }

    /// Tells the peer why. - Returns: The words for it.
    mutating func fail(_ failure: Failure, _ wire: inout TLSWire) -> TLSError {
        ERR_clear_error()
        switch failure {
        case .refused(let alert): return TLSError("read", alertOfPeer: alert)
        // OpenSSL's words, which people look for.
        case .endOfInput: return TLSError("read", reason: "unexpected eof while reading")
        case .broken(let description, let reason):
            _ = alert(description, to: &wire)
            return TLSError("read", reason: reason)
        }
    }

    /// The next whole record; `nil` if it has not come.
    private func next(_ wire: TLSWire) throws(Failure) -> UnsafeRawBufferPointer? {
        let input = UnsafeRawBufferPointer(rebasing: wire.input[wire.consumed...])
        guard input.count >= TLSTraffic.headerBytes else { return try nothing(wire) }
        guard input[0] == Content.application, input[1] == 3 else {
            throw .broken(Alert.unexpectedMessage, "a record of type \(input[0]), version \(input[1]), is not encrypted")
        }
        let body = Int(input[3]) << 8 | Int(input[4])
        guard body <= Self.longestInner + TLSTraffic.tagBytes else {
            throw .broken(Alert.recordOverflow, "a record has \(body) bytes")
        }
        guard body > TLSTraffic.tagBytes else { throw .broken(Alert.badRecord, "a record of \(body) bytes has nothing in it") }
        let count = TLSTraffic.headerBytes + body
        guard input.count >= count else { return try nothing(wire) }
        return UnsafeRawBufferPointer(rebasing: input[..<count])
    }

    private func nothing(_ wire: TLSWire) throws(Failure) -> UnsafeRawBufferPointer? {
        if wire.inputHasEnded { throw .endOfInput }
        return nil
    }

    /// - Returns: Bytes for the application, at the front of `space`.
    @inline(__always)
    private mutating func take(
        _ record: UnsafeRawBufferPointer, _ space: UnsafeMutableRawBufferPointer
    ) throws(Failure) -> Int {
        guard let start = space.baseAddress, let last = reading.open(record, to: start) else {
            throw .broken(Alert.badRecord, "a record is not what the peer has sent, or not the next one")
        }
        // RFC 8446 section 5.4: zeros may follow the type.
        var (type, count) = (last, space.count)
        while type == 0, count > 0 {
            count -= 1
            type = space[count]
        }
        if type == Content.application, count > 0, headerCount == 0, skipped == 0 {
            quietRecords = 0
            return count
        }
        try takeQuietly(UnsafeRawBufferPointer(rebasing: space[..<count]), type)
        return 0
    }

    /// The same, by memory of our own, for who has little room.
    private mutating func hold(_ record: UnsafeRawBufferPointer, _ length: Int) throws(Failure) -> Int {
        var bytes = [UInt8](repeating: 0, count: length - 1)
        var count = 0
        var failure: Failure?
        bytes.withUnsafeMutableBytes { space in
            do throws(Failure) { count = try take(record, space) } catch { failure = error }
        }
        if let failure { throw failure }
        held = bytes[..<count]
        return count
    }

    private mutating func takeHeld(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(held.count, buffer.count)
        held.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        held.removeFirst(count)
        if held.isEmpty { held = [] }
        return count
    }

    // MARK: What is not the application's

    private mutating func takeQuietly(_ bytes: UnsafeRawBufferPointer, _ type: UInt8) throws(Failure) {
        quietRecords += 1
        guard quietRecords <= Self.mostQuietRecords else {
            throw .broken(Alert.unexpectedMessage, "\(quietRecords) records without a byte of the application")
        }
        // RFC 8446 section 5.1: nothing comes between the parts of a message.
        guard type == Content.handshake || headerCount == 0 && skipped == 0 else {
            throw .broken(Alert.unexpectedMessage, "a record of type \(type) is amid a message")
        }
        switch type {
        case Content.application: return
        case Content.alert:
            guard bytes.count == 2 else { throw .broken(Alert.decodeError, "an alert has \(bytes.count) bytes") }
            switch bytes[1] {
            case Alert.closeNotify: hasEnded = true
            case Alert.userCanceled: return
            case let alert: throw .refused(alert)
            }
        case Content.handshake:
            guard !bytes.isEmpty else { throw .broken(Alert.unexpectedMessage, "a part of a message is empty") }
            try takeMessages(bytes)
        default: throw .broken(Alert.unexpectedMessage, "a record is of type \(type)")
        }
    }

    /// RFC 8446 section 4.6: tickets, of which we have no use, and KeyUpdates.
    private mutating func takeMessages(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        var rest = bytes[...]
        while !rest.isEmpty {
            if skipped > 0 {
                let count = min(skipped, rest.count)
                skipped -= count
                rest = rest.dropFirst(count)
                continue
            }
            while headerCount < 4, let byte = rest.popFirst() { (header, headerCount) = (header << 8 | UInt32(byte), headerCount + 1) }
            guard headerCount == 4 else { return }
            let (type, length) = (header >> 24, header & 0xff_ffff)
            (header, headerCount) = (0, 0)
            switch type {
            case Message.newSessionTicket where !isServer:
                guard length <= Self.longestTicket else {
                    throw .broken(Alert.decodeError, "a ticket has \(length) bytes")
                }
                skipped = Int(length)
            case Message.keyUpdate:
                // RFC 8446 section 5.1: a key changes where a record ends.
                guard length == 1, rest.count == 1, let request = rest.popFirst() else {
                    throw .broken(Alert.unexpectedMessage, "a KeyUpdate of \(length) bytes does not end its record")
                }
                guard request <= 1 else { throw .broken(Alert.illegalParameter, "a KeyUpdate asks for \(request)") }
                if request == 1 { renewKey(askingPeer: false) }
                guard reading.renew() else { throw .broken(Alert.internalError, "there is no memory") }
            default: throw .broken(Alert.unexpectedMessage, "a message is of type \(type)")
            }
        }
    }
}
