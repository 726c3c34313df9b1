// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Why a server does not open a tunnel. The answer has the status and ends the stream; the connection goes on.
public enum HBONERefusal: UInt8, Error, CaseIterable, Sendable, BitwiseCopyable {
    // 400: the request itself.
    case notConnect, malformedTarget
    /// The target's address is not the one that the connection was made to.
    case otherAddress
    // 401: policy.
    case denied
    // 503: what is behind.
    case unknownWorkload, unknownService, unknownPort
    /// The target's port is one of the mesh's own.
    case ownPort
    /// The source has as many tunnels as one may have.
    case tooMany
    case connectFailed, connectTimedOut

    /// Of the answer, as ztunnel gives it.
    public var status: UInt16 {
        switch self {
        case .notConnect, .malformedTarget, .otherAddress: 400
        case .denied: 401
        case .unknownWorkload, .unknownService, .unknownPort, .ownPort, .tooMany, .connectFailed, .connectTimedOut:
            503
        }
    }

    /// For the log: what, and where to look.
    public var text: StaticString {
        switch self {
        case .notConnect: "the request is no CONNECT; is the client one that speaks HBONE?"
        case .malformedTarget: "the target is not ADDRESS:PORT or HOST:PORT"
        case .otherAddress: "the target is not the address that the connection was made to; the client's state is old"
        case .denied: "no policy allows it, or one denies it; see meshctl policy explain"
        case .unknownWorkload: "no pod of this node has the address"
        case .unknownService: "no Service has the host name"
        case .unknownPort: "the Service has no such port"
        case .ownPort: "the port is one of the mesh's own, which would lead back to it"
        case .tooMany: "the pod that asks has too many tunnels open"
        case .connectFailed: "the application does not accept the connection"
        case .connectTimedOut: "the application does not answer"
        }
    }
}

extension HBONETarget {
    /// Ports of a mesh's own listeners inside pods: HBONE, capture inbound and outbound, as ztunnel has them.
    static let ownPorts: [UInt16] = [tunnelPort, 15006, 15001]

    /// Reads the head of a request that came to `local`, an address of the pod.
    ///
    /// - Parameter message: The memory that the head's offsets are for.
    public static func read(
        _ head: RequestHead, in message: UnsafeRawPointer, to local: IPAddress
    ) -> Result<HBONETarget, HBONERefusal> {
        guard head.method == .connect else { return .failure(.notConnect) }
        guard let target = HBONETarget(head.authority.bytes(in: message)) else { return .failure(.malformedTarget) }
        switch target {
        case .address(let address, let port):
            if address != local { return .failure(.otherAddress) }
            if ownPorts.contains(port) { return .failure(.ownPort) }
        // Its port is the Service's; the endpoint's is checked when it is known.
        case .service: break
        }
        return .success(target)
    }

    /// Whether a server may connect to `port` of a pod.
    public static func mayReach(port: UInt16) -> Bool { port != 0 && !ownPorts.contains(port) }
}
