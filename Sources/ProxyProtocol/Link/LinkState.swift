// SPDX-License-Identifier: Apache-2.0

/// A message of one direction of a link.
public protocol LinkMessage: Sendable {
    /// From 16 on; lower numbers are the link's own.
    var type: UInt16 { get }
    /// How many descriptors come with it.
    var descriptors: Int { get }
    func encodeBody(to writer: inout ByteWriter)
    /// - Throws: ``WireError`` also for a type that is not known.
    init(type: UInt16, from reader: inout ByteReader) throws(WireError)
}

/// One end of a link without its socket: frames what is sent, and checks what arrives.
///
/// A packet is a type (16 bits), 16 bits of zero, a number (64 bits) that counts the packets of its direction from 1,
/// and what the type says. First comes a ``Hello``, then anything, last perhaps a reason for closing.
public struct LinkState<Incoming: LinkMessage, Outgoing: LinkMessage>: Sendable {
    /// What a packet is.
    public enum Received: Sendable {
        case hello(Hello)
        case message(Incoming)
        /// The peer closes the link, and says why.
        case goodbye(String)
        /// The link cannot go on.
        case violation(String)
    }

    private let own: Hello
    private let expected: Hello.Role
    private let limits: LinkLimits
    private var sent: UInt64 = 0
    private var received: UInt64 = 0

    public static var headerBytes: Int { 12 }
    private static var helloType: UInt16 { 1 }
    private static var goodbyeType: UInt16 { 2 }

    /// - Parameter expected: who must be at the other end.
    public init(_ own: Hello, expecting expected: Hello.Role, limits: LinkLimits = LinkLimits()) {
        self.own = own
        self.expected = expected
        self.limits = limits
    }

    // MARK: - Sending

    public mutating func hello() -> [UInt8] {
        let own = own
        return frame(Self.helloType) { own.encode(to: &$0) }
    }

    public mutating func frame(_ message: Outgoing) -> [UInt8] {
        frame(message.type) { message.encodeBody(to: &$0) }
    }

    public mutating func goodbye(_ reason: String) -> [UInt8] {
        // A reason may quote what the peer has sent.
        frame(Self.goodbyeType) { String(reason.unicodeScalars.prefix(500)).encode(to: &$0) }
    }

    private mutating func frame(_ type: UInt16, _ body: (inout ByteWriter) -> Void) -> [UInt8] {
        sent += 1
        var writer = ByteWriter()
        writer.write(type, 0 as UInt16, sent)
        body(&writer)
        return writer.bytes
    }

    // MARK: - Receiving

    /// - Parameter descriptors: how many came with the packet.
    public mutating func receive(_ packet: UnsafeRawBufferPointer, descriptors: Int) -> Received {
        do throws(WireError) { return try read(packet, descriptors) } catch {
            return .violation("malformed packet: \(error)")
        }
    }

    private mutating func read(_ packet: UnsafeRawBufferPointer, _ descriptors: Int) throws(WireError) -> Received {
        var reader = ByteReader(packet)
        let (type, zero, number): (UInt16, UInt16, UInt64) = (try reader.read(), try reader.read(), try reader.read())
        guard zero == 0 else { throw reader.failure("reserved bits are set") }
        guard number == received + 1 else { return .violation("packet \(number) follows \(received)") }
        received = number
        let received: Received
        var wanted = 0
        switch type {
        case Self.helloType:
            guard number == 1 else { return .violation("a second hello") }
            received = hello(try reader.read())
        case Self.goodbyeType:
            received = .goodbye(try reader.read())
        default:
            guard number > 1 else { return .violation("the first packet is of type \(type), and no hello") }
            let message = try Incoming(type: type, from: &reader)
            wanted = message.descriptors
            received = .message(message)
        }
        try reader.requireEnd()
        guard descriptors == wanted else {
            return .violation("a packet of type \(type) has \(descriptors) descriptors, not \(wanted)")
        }
        return received
    }

    private func hello(_ hello: Hello) -> Received {
        guard hello.role == expected else {
            return .violation("\(hello.role.program) is at the other end, not \(expected.program)")
        }
        return hello.refusal(by: own).map(Received.violation) ?? .hello(hello)
    }
}
