// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// Records of a connection whose handshake is done (RFC 8446 section 5), and the few messages that may still come.
///
/// In place of OpenSSL's, whose state of a connection is 20 KB and which copies each byte twice on its way: ciphers are
/// OpenSSL's, and all of a handshake. What a peer can make this do is bounded by what it sends.
struct TLSRecordLayer: ~Copyable {
    /// Most that is encrypted in one record: the type of the content is among it.
    private static let longestInner = TLSSession.maximumRecord + 1

    private var reading: TLSTraffic
    private var writing: TLSTraffic
    private var messages: TLSMessages
    /// The peer has said that nothing follows.
    private var hasEnded = false
    /// We have.
    private var isClosed = false
    /// Nothing is said after a failure but the alert for it.
    private var hasFailed = false
    /// Of the failure: there was no room for it.
    private var owedAlert: TLSAlert?
    private let recordsPerKey: UInt64
    /// Decrypted, and did not fit where it was to go.
    private var held: ArraySlice<UInt8> = []
    /// A KeyUpdate goes before the next record; 1: the peer is asked for one too.
    private var owedUpdate: UInt8?

    /// - Parameter recordsPerKey: So many are written before the key is renewed.
    init(
        isServer: Bool, reading: consuming TLSTraffic, writing: consuming TLSTraffic,
        recordsPerKey: UInt64 = TLSSession.recordsPerKey
    ) {
        self.recordsPerKey = recordsPerKey
        messages = TLSMessages(isServer: isServer)
        self.reading = reading
        self.writing = writing
    }

    /// Gives back what is made anew when it is needed.
    mutating func rest() {
        reading.rest()
        writing.rest()
    }

    // MARK: Writing

    /// The next record goes with a new key.
    mutating func renewKey(askingPeer: Bool) { owedUpdate = max(owedUpdate ?? 0, askingPeer ? 1 : 0) }

    /// Writes a record, and a KeyUpdate before it that is owed (RFC 8446 section 4.6.3).
    ///
    /// - Precondition: There is room for both: ``TLSSession/leastRoom`` more than what is written.
    mutating func write(_ bytes: UnsafeRawBufferPointer, to wire: inout TLSWire) throws(TLSError) {
        guard !isClosed, !hasFailed else {
            throw TLSError("write", reason: hasFailed ? "the connection has failed" : "the end was said before")
        }
        if owedUpdate != nil || writing.sequence >= recordsPerKey {
            let update = [TLSMessages.keyUpdate, 0, 0, 1, owedUpdate ?? 0]
            owedUpdate = nil
            guard write(update, TLSMessages.handshake, to: &wire), writing.renew() else {
                hasFailed = true
                throw TLSError("renew a key")
            }
        }
        guard seal(bytes, TLSMessages.application, to: &wire) else {
            hasFailed = true
            throw TLSError("write")
        }
    }

    /// Says that nothing follows, or why the connection has failed. - Returns: Whether there was room for it.
    mutating func close(_ wire: inout TLSWire) -> Bool {
        if isClosed || hasFailed && owedAlert == nil { return true }
        guard say(owedAlert ?? .closeNotify, to: &wire) else { return false }
        isClosed = true
        owedAlert = nil
        return true
    }

    private mutating func say(_ alert: TLSAlert, to wire: inout TLSWire) -> Bool {
        // Levels mean nothing any more (RFC 8446 section 6).
        write([alert == .closeNotify ? 1 : 2, alert.rawValue], TLSMessages.alert, to: &wire)
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
    ///
    /// - Parameter buffer: May be memory of the wire's input, from where it is used next or before: ciphers then work where
    ///   the record is, and what was in it, which is shorter, is moved.
    mutating func read(
        _ wire: inout TLSWire, into buffer: UnsafeMutableRawBufferPointer
    ) throws(TLSViolation) -> TLSSession.Progress {
        if !held.isEmpty { return .transferred(takeHeld(buffer)) }
        while !hasEnded {
            guard let record = try next(wire) else { return .needsInput }
            let length = record.count - TLSTraffic.headerBytes - TLSTraffic.tagBytes
            // Its last byte need not fit: mostly it is the type.
            let isHeld = length - 1 > buffer.count
            let count = try isHeld ? hold(record, length) : take(record, length, buffer)
            wire.consumed &+= record.count
            if count > 0 { return .transferred(isHeld ? takeHeld(buffer) : count) }
        }
        return .endOfStream
    }

    /// Tells the peer why; without room for it, in ``close(_:)``. - Returns: The words for it.
    mutating func fail(_ failure: TLSViolation, _ wire: inout TLSWire) -> TLSError {
        ERR_clear_error()
        defer { hasFailed = true }
        switch failure {
        case .refused(let alert): return TLSError("read", alertOfPeer: alert)
        // OpenSSL's words, which people look for.
        case .endOfInput: return TLSError("read", reason: "unexpected eof while reading")
        case .broken(let alert, let reason):
            if !say(alert, to: &wire) { owedAlert = alert }
            return TLSError("read", reason: reason)
        }
    }

    /// The next whole record; `nil` if it has not come.
    private func next(_ wire: TLSWire) throws(TLSViolation) -> UnsafeRawBufferPointer? {
        let input = UnsafeRawBufferPointer(rebasing: wire.input[wire.consumed...])
        guard input.count >= TLSTraffic.headerBytes else { return try nothing(wire) }
        guard input[0] == TLSMessages.application, input[1] == 3 else {
            throw .broken(.unexpectedMessage, "a record of type \(input[0]), version \(input[1]), is not encrypted")
        }
        let body = Int(input[3]) << 8 | Int(input[4])
        guard body <= Self.longestInner + TLSTraffic.tagBytes else {
            throw .broken(.recordOverflow, "a record has \(body) bytes")
        }
        guard body > TLSTraffic.tagBytes else {
            throw .broken(.badRecord, "a record of \(body) bytes has nothing in it")
        }
        let count = TLSTraffic.headerBytes + body
        guard input.count >= count else { return try nothing(wire) }
        return UnsafeRawBufferPointer(rebasing: input[..<count])
    }

    private func nothing(_ wire: TLSWire) throws(TLSViolation) -> UnsafeRawBufferPointer? {
        if wire.inputHasEnded { throw .endOfInput }
        return nil
    }

    /// - Returns: Bytes for the application, at the front of `buffer`.
    @inline(__always)
    private mutating func take(
        _ record: UnsafeRawBufferPointer, _ length: Int, _ buffer: UnsafeMutableRawBufferPointer
    ) throws(TLSViolation) -> Int {
        guard let start = buffer.baseAddress, let from = record.baseAddress else { return 0 }
        guard UnsafeRawPointer(start) < from + record.count, from < UnsafeRawPointer(start + buffer.count) else {
            return try take(record, UnsafeMutableRawBufferPointer(start: start, count: length - 1))
        }
        let body = UnsafeMutableRawPointer(mutating: from + TLSTraffic.headerBytes)
        precondition(start <= body, "plaintext would be written over records that follow")
        let count = try take(record, UnsafeMutableRawBufferPointer(start: body, count: length - 1))
        start.copyMemory(from: body, byteCount: count)
        return count
    }

    /// - Parameter space: One byte shorter than what was encrypted.
    /// - Returns: Bytes for the application, at the front of `space`.
    @inline(__always)
    private mutating func take(
        _ record: UnsafeRawBufferPointer, _ space: UnsafeMutableRawBufferPointer
    ) throws(TLSViolation) -> Int {
        guard let start = space.baseAddress, let last = reading.open(record, to: start) else {
            throw .broken(.badRecord, "a record is not what the peer has sent, or not the next one")
        }
        // RFC 8446 section 5.4: zeros may follow the type.
        var (type, count) = (last, space.count)
        while type == 0, count > 0 {
            count -= 1
            type = space[count]
        }
        if type == TLSMessages.application, count > 0, messages.takeApplication() { return count }
        switch try messages.take(type, UnsafeRawBufferPointer(rebasing: space[..<count])) {
        case .nothing: break
        case .ended: hasEnded = true
        case .newKey(let isAsked):
            if isAsked { renewKey(askingPeer: false) }
            guard reading.renew() else { throw .broken(.internalError, "there is no memory") }
        }
        return 0
    }

    /// The same, by memory of our own, for who has little room.
    private mutating func hold(_ record: UnsafeRawBufferPointer, _ length: Int) throws(TLSViolation) -> Int {
        var bytes = [UInt8](repeating: 0, count: length - 1)
        var count = 0
        var failure: TLSViolation?
        bytes.withUnsafeMutableBytes { space in
            do throws(TLSViolation) { count = try take(record, space) } catch { failure = error }
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
}
