// SPDX-License-Identifier: Apache-2.0

/// What one request or connection was, as an access log line tells it. Borrowed for the length of a call.
///
/// Names are those of Istio's ztunnel (`src.addr`, `dst.workload`, `bytes_sent`, ...) where it has them.
public struct AccessLogRecord {
    public enum Direction: UInt8, Sendable, BitwiseCopyable {
        case inbound, outbound

        var text: StaticString { self == .inbound ? "inbound" : "outbound" }
    }

    /// One end. `nil` fields are left out of the line.
    public struct Peer {
        /// `192.0.2.1:80`, `[2001:db8::1]:80`.
        public var address: UnsafeRawBufferPointer?
        public var workload: UnsafeRawBufferPointer?
        public var namespace: UnsafeRawBufferPointer?
        /// Only what the peer has proved.
        public var identity: UnsafeRawBufferPointer?

        public init() {}
    }

    /// Microseconds since 1970 when the request began.
    public var startTime: UInt64 = 0
    public var direction = Direction.inbound
    public var source = Peer()
    public var destination = Peer()
    /// `web.shop.svc.cluster.local`.
    public var service: UnsafeRawBufferPointer?

    public var method: UnsafeRawBufferPointer?
    /// As it was sent, with the query.
    public var path: UnsafeRawBufferPointer?
    public var authority: UnsafeRawBufferPointer?
    /// `HTTP/1.1`, `HTTP/2`; `TCP` or `TLS` of a connection that is not HTTP.
    public var protocolName: StaticString = "HTTP/1.1"
    /// The line is of a connection, and not of a request: it has no status.
    public var isConnection = false
    /// A copy of another request, for a mirror.
    public var isMirror = false
    /// 0: none was sent.
    public var status: UInt16 = 0
    /// `nil`: no gRPC request.
    public var grpcStatus: UInt32?
    public var reason = ReplyReason.none
    /// Of a tunnel: why it ended. A line of a tunnel has no fields of requests.
    public var tunnelEnd: StaticString?
    /// More about the end of a tunnel, for people.
    public var detail: UnsafeRawBufferPointer?
    /// The policy or route that decided, where one did.
    public var decidedBy: UnsafeRawBufferPointer?
    /// What policies or limits in a dry run would have made of it; `nil`: nothing else.
    public var dryRun: StaticString?

    /// From the view of the pod on whose side the line is written.
    public var bytesSent: UInt64 = 0
    public var bytesReceived: UInt64 = 0
    /// Milliseconds from the first byte of the request to the last of the response.
    public var duration: UInt64 = 0
    /// Milliseconds until the upstream's response began.
    public var upstreamDuration: UInt64?
    public var attempts: UInt32 = 0
    public var upstreamAddress: UnsafeRawBufferPointer?
    public var route: UnsafeRawBufferPointer?

    public var userAgent: UnsafeRawBufferPointer?
    public var requestID: UnsafeRawBufferPointer?
    public var forwardedFor: UnsafeRawBufferPointer?
    /// 32 hexadecimal digits.
    public var traceID: UnsafeRawBufferPointer?

    public init() {}
}
