// SPDX-License-Identifier: Apache-2.0

/// What is spoken on a port, as far as somebody has said so.
public enum PortProtocol: UInt8, Hashable, Sendable, BitwiseCopyable, CaseIterable {
    /// Nobody has: the first bytes of each connection tell.
    case unknown
    /// HTTP of either version; its endpoints speak HTTP/1.1.
    case http1
    /// HTTP of either version; its endpoints speak HTTP/2 with prior knowledge.
    case http2
    /// Bytes that are nobody's business.
    case tcp
    /// The same, of which it is known that they are TLS.
    case tls

    /// Whether a connection's bytes are passed on without a look at them.
    @inline(__always) public var isOpaque: Bool { self == .tcp || self == .tls }

    /// - Parameters:
    ///   - appProtocol: of the Service's port: a name of KEP-3726 or one that Istio knows; any other says nothing.
    ///     https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol
    ///     https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/
    ///   - detection: of a policy, which goes first; ``MeshPolicySettings/Detection/auto``: to look in any case.
    public init(appProtocol: String?, _ detection: MeshPolicySettings.Detection? = nil) {
        self =
            switch detection {
            case .auto: .unknown
            case .http1: .http1
            case .http2, .grpc: .http2
            case .tcp: .tcp
            case .tls: .tls
            case nil:
                switch appProtocol {
                case "http", "kubernetes.io/ws", "grpc-web": .http1
                case "kubernetes.io/h2c", "http2", "grpc": .http2
                case "tcp", "mongo", "mysql", "redis": .tcp
                case "tls", "https", "kubernetes.io/wss": .tls
                default: .unknown
                }
            }
    }

    /// What endpoints speak to whom a request of HTTP is sent. A policy that has clients' bytes looked at says nothing
    /// about that.
    public static func ofEndpoints(
        appProtocol: String?, _ detection: MeshPolicySettings.Detection? = nil
    ) -> PortProtocol {
        PortProtocol(appProtocol: appProtocol, detection == .auto ? nil : detection)
    }
}
