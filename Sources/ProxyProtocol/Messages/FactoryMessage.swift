// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// What an agent asks of its socket factory. Each has a number of its own and is answered once, in order.
public enum FactoryRequest: Hashable, Sendable {
    /// From now on sockets can be made in this namespace; its descriptor comes with it.
    case addWorkload(number: UInt64, netns: UInt64)
    /// The namespace is let go.
    case removeWorkload(number: UInt64, netns: UInt64)
    /// - Parameter backlog: connections that wait to be accepted, as listen(2).
    case listener(number: UInt64, ListenerKey, backlog: UInt32)
    /// A TCP socket bound to an address of the pod, not connected.
    case leg(number: UInt64, netns: UInt64, source: IPAddress)

    public var number: UInt64 {
        switch self {
        case .addWorkload(let number, _), .removeWorkload(let number, _), .listener(let number, _, _),
            .leg(let number, _, _):
            number
        }
    }
}

extension FactoryRequest: LinkMessage {
    public var type: UInt16 {
        switch self {
        case .addWorkload: 16
        case .removeWorkload: 17
        case .listener: 18
        case .leg: 19
        }
    }

    public var descriptors: Int {
        if case .addWorkload = self { 1 } else { 0 }
    }

    public func encodeBody(to writer: inout ByteWriter) {
        switch self {
        case .addWorkload(let number, let netns), .removeWorkload(let number, let netns): writer.write(number, netns)
        case .listener(let number, let key, let backlog): writer.write(number, key, backlog)
        case .leg(let number, let netns, let source): writer.write(number, netns, source)
        }
    }

    public init(type: UInt16, from reader: inout ByteReader) throws(WireError) {
        switch type {
        case 16: self = .addWorkload(number: try reader.read(), netns: try reader.read())
        case 17: self = .removeWorkload(number: try reader.read(), netns: try reader.read())
        case 18: self = .listener(number: try reader.read(), try reader.read(), backlog: try reader.read())
        case 19: self = .leg(number: try reader.read(), netns: try reader.read(), source: try reader.read())
        default: throw reader.failure("\(type) is no message to a socket factory")
        }
    }
}

/// A socket factory's answers.
public enum FactoryAnswer: Hashable, Sendable {
    case done(number: UInt64)
    /// The socket comes with it; the port that it is bound to, 0: none yet.
    case socket(number: UInt64, port: UInt16)
    case refused(number: UInt64, SocketRefusal)

    public var number: UInt64 {
        switch self {
        case .done(let number), .socket(let number, _), .refused(let number, _): number
        }
    }
}

extension FactoryAnswer: LinkMessage {
    public var type: UInt16 {
        switch self {
        case .done: 16
        case .socket: 17
        case .refused: 18
        }
    }

    public var descriptors: Int {
        if case .socket = self { 1 } else { 0 }
    }

    public func encodeBody(to writer: inout ByteWriter) {
        switch self {
        case .done(let number): writer.write(number)
        case .socket(let number, let port): writer.write(number, port)
        case .refused(let number, let refusal): writer.write(number, refusal)
        }
    }

    public init(type: UInt16, from reader: inout ByteReader) throws(WireError) {
        switch type {
        case 16: self = .done(number: try reader.read())
        case 17: self = .socket(number: try reader.read(), port: try reader.read())
        case 18: self = .refused(number: try reader.read(), try reader.read())
        default: throw reader.failure("\(type) is no message of a socket factory")
        }
    }
}
