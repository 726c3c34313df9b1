// SPDX-License-Identifier: Apache-2.0

/// What an agent tells a proxy.
public enum AgentMessage: Hashable, Sendable {
    /// Records follow that turn generation `base` into `generation`, and a commit.
    case begin(base: UInt64, generation: UInt64)
    case put(RecordKey, [UInt8])
    case delete(RecordKey)
    /// Answered by ``ProxyMessage/acknowledge(_:)`` or ``ProxyMessage/reject(_:reason:)``.
    case commit(UInt64)
    /// A whole ``ConfigurationState`` in a sealed file, which comes with it. Answered as a commit.
    case snapshot(UInt64)
    /// The kernel's policy of a generation, which comes into force after this, is in that configuration and in those that
    /// follow it.
    case policy(UInt32, by: UInt64)
    /// A listener to serve; its socket comes with it. One of the same key takes the place of the former.
    case listener(Listener)
    /// No more of it: its pod has left.
    case listenerGone(ListenerKey)
    /// The socket that was asked for comes with it.
    case leg(request: UInt64)
    case legRefused(request: UInt64, SocketRefusal)
    /// Accept nothing more, end what is open by the deadline, in milliseconds from now, and exit.
    case drain(milliseconds: UInt32)
    /// Answered by ``ProxyMessage/status(_:)``.
    case statusRequest(UInt32)
    /// Write a page for Prometheus into the file that comes with it. Answered by ``ProxyMessage/metrics(_:)``.
    case metricsRequest(UInt32)
    /// What changes of identities and trust, an ``IdentityTransfer`` in the file that comes with it. Answered by
    /// ``ProxyMessage/identities(_:refusal:)``. From version 1.2 on.
    case identities(UInt32)
    /// Write all of them into the file that comes with it. Answered by ``ProxyMessage/identitiesWritten(_:)``. From
    /// version 1.2 on.
    case identitiesRequest(UInt32)
}

extension AgentMessage: LinkMessage {
    public var type: UInt16 {
        switch self {
        case .begin: 16
        case .put: 17
        case .delete: 18
        case .commit: 19
        case .snapshot: 20
        case .listener: 21
        case .listenerGone: 22
        case .leg: 23
        case .legRefused: 24
        case .drain: 25
        case .statusRequest: 26
        case .metricsRequest: 27
        case .policy: 28
        case .identities: 29
        case .identitiesRequest: 30
        }
    }

    public var descriptors: Int {
        switch self {
        case .snapshot, .listener, .leg, .metricsRequest, .identities, .identitiesRequest: 1
        default: 0
        }
    }

    public func encodeBody(to writer: inout ByteWriter) {
        switch self {
        case .begin(let base, let generation): writer.write(base, generation)
        case .put(let key, let value): writer.write(key, value)
        case .delete(let key): writer.write(key)
        case .commit(let generation), .snapshot(let generation): writer.write(generation)
        case .policy(let policy, let generation): writer.write(policy, generation)
        case .listener(let listener): writer.write(listener)
        case .listenerGone(let key): writer.write(key)
        case .leg(let request): writer.write(request)
        case .legRefused(let request, let refusal): writer.write(request, refusal)
        case .drain(let milliseconds): writer.write(milliseconds)
        case .statusRequest(let number), .metricsRequest(let number), .identities(let number),
            .identitiesRequest(let number):
            writer.write(number)
        }
    }

    public init(type: UInt16, from reader: inout ByteReader) throws(WireError) {
        switch type {
        case 16: self = .begin(base: try reader.read(), generation: try reader.read())
        case 17:
            let key: RecordKey = try reader.read()
            self = .put(key, Array(try reader.take(try reader.count())))
        case 18: self = .delete(try reader.read())
        case 19: self = .commit(try reader.read())
        case 20: self = .snapshot(try reader.read())
        case 21: self = .listener(try reader.read())
        case 22: self = .listenerGone(try reader.read())
        case 23: self = .leg(request: try reader.read())
        case 24: self = .legRefused(request: try reader.read(), try reader.read())
        case 25: self = .drain(milliseconds: try reader.read())
        case 26: self = .statusRequest(try reader.read())
        case 27: self = .metricsRequest(try reader.read())
        case 28: self = .policy(try reader.read(), by: try reader.read())
        case 29: self = .identities(try reader.read())
        case 30: self = .identitiesRequest(try reader.read())
        default: throw reader.failure("\(type) is no message of an agent to a proxy")
        }
    }
}
