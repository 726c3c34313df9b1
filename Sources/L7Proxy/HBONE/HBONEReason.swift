// SPDX-License-Identifier: Apache-2.0

/// Why a tunnel, or a connection that carries tunnels, ended as it did.
public enum HBONEReason: Hashable, Sendable, BitwiseCopyable {
    /// Both directions were ended in order.
    case finished
    /// The server did not open the tunnel: our answer, or the peer's, of which only the status is known.
    case refused(HBONERefusal)
    case peerRefused(status: UInt16)

    // While it was open.
    /// The application's socket was reset.
    case applicationReset
    /// The peer has reset the stream: its application has, mostly.
    case peerReset(HTTP2ErrorCode)
    /// The connection that carried it is gone.
    case connectionLost
    /// The peer does not answer pings.
    case peerSilent
    /// A changed policy denies what an earlier one allowed.
    case policyChanged
    /// The peer's certificate is not accepted by changed bundles or revocation lists.
    case peerRejected
    /// There is no certificate of our own identity any more.
    case identityGone
    case drained

    // Before.
    case noIdentity
    /// No socket for it could be made.
    case noSocket
    /// The peer's node refuses connections to the port of HBONE.
    case dialRefused
    /// Nothing answers there: what swallows it is a NetworkPolicy or a firewall, mostly.
    case dialTimedOut
    case handshakeFailed, handshakeTimedOut
    /// It is not HTTP/2, or breaks it.
    case protocolError
    case tooMany
    case outOfMemory

    /// What, and where to look.
    public var text: StaticString {
        switch self {
        case .finished: "both ends are done"
        case .refused(let refusal): refusal.text
        case .peerRefused(let status): Self.text(ofStatus: status)
        case .applicationReset: "the application reset the connection"
        case .peerReset: "the other side reset the connection"
        case .connectionLost: "the connection between the nodes was lost"
        case .peerSilent: "the other node does not answer; is it down, or the network between?"
        case .policyChanged: "a changed policy denies it"
        case .peerRejected: "the peer's certificate is no longer accepted: its authority was removed or it was revoked"
        case .identityGone: "the identity's certificate was withdrawn"
        case .drained: "the proxy ends"
        case .noIdentity: "there is no valid certificate for the pod's identity; see meshctl identity"
        case .noSocket: "no socket could be made inside the pod"
        case .dialRefused: "the other node refuses connections to port 15008 of the pod; is the pod in the mesh?"
        case .dialTimedOut:
            "nothing answers at TCP port 15008 of the pod: let a NetworkPolicy of the CNI, or a firewall, that drops it allow it"
        case .handshakeFailed: "the TLS handshake failed"
        case .handshakeTimedOut: "the TLS handshake was not finished in time"
        case .protocolError: "the other side does not speak HTTP/2 as it should"
        case .tooMany: "there are too many tunnels or connections"
        case .outOfMemory: "the worker's buffers are all in use"
        }
    }

    private static func text(ofStatus status: UInt16) -> StaticString {
        switch status {
        case 401: "the other node's policy does not allow it"
        case 400: "the other node does not accept the request; its state and ours differ"
        case 503: "the application behind the other node does not accept the connection"
        default: "the other node answered with a status that opens no tunnel"
        }
    }
}
