// SPDX-License-Identifier: Apache-2.0

/// What a proxy tells its agent.
public enum ProxyMessage: Hashable, Sendable {
    /// The generation is in force.
    case acknowledge(UInt64)
    /// It is not, and will not be; the one before stays.
    case reject(UInt64, reason: String)
    case legRequest(LegRequest)
    /// A listener that it had from an agent before; its socket comes with it.
    case listener(Listener)
    /// There are no more of these. The number of those that came.
    case listenersComplete(UInt32)
    /// No connection is left; the process ends.
    case drained
    case status(ProxyStatus)
    /// The page is in the file that came with this request.
    case metrics(UInt32)
    /// The identities of this number are in use; or none of them, and why.
    case identities(UInt32, refusal: String?)
    /// All identities are in the file that came with this request.
    case identitiesWritten(UInt32)
}

extension ProxyMessage: LinkMessage {
    public var type: UInt16 {
        switch self {
        case .acknowledge: 16
        case .reject: 17
        case .legRequest: 18
        case .listener: 19
        case .listenersComplete: 20
        case .drained: 21
        case .status: 22
        case .metrics: 23
        case .identities: 24
        case .identitiesWritten: 25
        }
    }

    public var descriptors: Int {
        if case .listener = self { 1 } else { 0 }
    }

    public func encodeBody(to writer: inout ByteWriter) {
        switch self {
        case .acknowledge(let generation): writer.write(generation)
        case .reject(let generation, let reason):
            writer.write(generation, String(reason.unicodeScalars.prefix(1000)))
        case .legRequest(let request): writer.write(request)
        case .listener(let listener): writer.write(listener)
        case .listenersComplete(let count): writer.write(count)
        case .drained: break
        case .status(let status): writer.write(status)
        case .metrics(let number), .identitiesWritten(let number): writer.write(number)
        case .identities(let number, let refusal):
            writer.write(number, refusal.map { String($0.unicodeScalars.prefix(1000)) })
        }
    }

    public init(type: UInt16, from reader: inout ByteReader) throws(WireError) {
        switch type {
        case 16: self = .acknowledge(try reader.read())
        case 17: self = .reject(try reader.read(), reason: try reader.read())
        case 18: self = .legRequest(try reader.read())
        case 19: self = .listener(try reader.read())
        case 20: self = .listenersComplete(try reader.read())
        case 21: self = .drained
        case 22: self = .status(try reader.read())
        case 23: self = .metrics(try reader.read())
        case 24: self = .identities(try reader.read(), refusal: try reader.read())
        case 25: self = .identitiesWritten(try reader.read())
        default: throw reader.failure("\(type) is no message of a proxy to an agent")
        }
    }
}
