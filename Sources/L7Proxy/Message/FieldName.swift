// SPDX-License-Identifier: Apache-2.0

/// A field name that the proxy knows, so that routing, policy and forwarding compare one byte instead of text.
///
/// Names are case-insensitive (RFC 9110 section 5.1). A message may hold any other name too: those are ``other``, and
/// are compared by their bytes.
public enum FieldName: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    case other

    // What a connection, not a message, is about: an intermediary consumes these (RFC 9110 section 7.6.1).
    case connection, keepAlive, proxyConnection, te, transferEncoding, upgrade, http2Settings

    // Framing, routing and controls: what a trailer must not change (RFC 9110 section 6.5.1).
    case contentLength, host, trailer, expect, maxForwards, authorization, proxyAuthorization, proxyAuthenticate
    case wwwAuthenticate, cookie, setCookie, cacheControl, pragma, range, ifMatch, ifNoneMatch, ifModifiedSince
    case ifUnmodifiedSince, ifRange, age, date, expires, retryAfter, vary, warning, location, contentType
    case contentEncoding, contentRange

    // The rest of RFC 9110, and what browsers send.
    case via, contentLanguage, contentLocation, accept, acceptEncoding, acceptLanguage, acceptCharset, acceptRanges
    case allow, altSvc, eTag, forwarded, from, lastModified, origin, referer, server, userAgent
    case strictTransportSecurity

    // CORS and WebSocket.
    case accessControlRequestMethod, accessControlRequestHeaders, accessControlAllowOrigin
    case accessControlAllowMethods, accessControlAllowHeaders, accessControlAllowCredentials
    case accessControlExposeHeaders, accessControlMaxAge, secWebsocketKey, secWebsocketVersion, secWebsocketProtocol
    case secWebsocketExtensions, secWebsocketAccept

    // Of proxies, traces and gRPC.
    case xForwardedFor, xForwardedHost, xForwardedProto, xRealIp, xRequestId, xB3Traceid, xB3Spanid, xB3Sampled, b3
    case traceparent, tracestate, baggage, grpcTimeout, grpcStatus, grpcMessage, grpcEncoding, grpcAcceptEncoding
}

extension FieldName {
    /// The name as it is written into messages and table keys: lower case, as HTTP/2 requires. Empty for ``other``.
    public var text: StaticString {
        switch self {
        case .other: ""
        case .connection: "connection"
        case .keepAlive: "keep-alive"
        case .proxyConnection: "proxy-connection"
        case .te: "te"
        case .transferEncoding: "transfer-encoding"
        case .upgrade: "upgrade"
        case .http2Settings: "http2-settings"
        case .contentLength: "content-length"
        case .host: "host"
        case .trailer: "trailer"
        case .expect: "expect"
        case .maxForwards: "max-forwards"
        case .authorization: "authorization"
        case .proxyAuthorization: "proxy-authorization"
        case .proxyAuthenticate: "proxy-authenticate"
        case .wwwAuthenticate: "www-authenticate"
        case .cookie: "cookie"
        case .setCookie: "set-cookie"
        case .cacheControl: "cache-control"
        case .pragma: "pragma"
        case .range: "range"
        case .ifMatch: "if-match"
        case .ifNoneMatch: "if-none-match"
        case .ifModifiedSince: "if-modified-since"
        case .ifUnmodifiedSince: "if-unmodified-since"
        case .ifRange: "if-range"
        case .age: "age"
        case .date: "date"
        case .expires: "expires"
        case .retryAfter: "retry-after"
        case .vary: "vary"
        case .warning: "warning"
        case .location: "location"
        case .contentType: "content-type"
        case .contentEncoding: "content-encoding"
        case .contentRange: "content-range"
        case .via: "via"
        case .contentLanguage: "content-language"
        case .contentLocation: "content-location"
        case .accept: "accept"
        case .acceptEncoding: "accept-encoding"
        case .acceptLanguage: "accept-language"
        case .acceptCharset: "accept-charset"
        case .acceptRanges: "accept-ranges"
        case .allow: "allow"
        case .altSvc: "alt-svc"
        case .eTag: "etag"
        case .forwarded: "forwarded"
        case .from: "from"
        case .lastModified: "last-modified"
        case .origin: "origin"
        case .referer: "referer"
        case .server: "server"
        case .userAgent: "user-agent"
        case .strictTransportSecurity: "strict-transport-security"
        case .accessControlRequestMethod: "access-control-request-method"
        case .accessControlRequestHeaders: "access-control-request-headers"
        case .accessControlAllowOrigin: "access-control-allow-origin"
        case .accessControlAllowMethods: "access-control-allow-methods"
        case .accessControlAllowHeaders: "access-control-allow-headers"
        case .accessControlAllowCredentials: "access-control-allow-credentials"
        case .accessControlExposeHeaders: "access-control-expose-headers"
        case .accessControlMaxAge: "access-control-max-age"
        case .secWebsocketKey: "sec-websocket-key"
        case .secWebsocketVersion: "sec-websocket-version"
        case .secWebsocketProtocol: "sec-websocket-protocol"
        case .secWebsocketExtensions: "sec-websocket-extensions"
        case .secWebsocketAccept: "sec-websocket-accept"
        case .xForwardedFor: "x-forwarded-for"
        case .xForwardedHost: "x-forwarded-host"
        case .xForwardedProto: "x-forwarded-proto"
        case .xRealIp: "x-real-ip"
        case .xRequestId: "x-request-id"
        case .xB3Traceid: "x-b3-traceid"
        case .xB3Spanid: "x-b3-spanid"
        case .xB3Sampled: "x-b3-sampled"
        case .b3: "b3"
        case .traceparent: "traceparent"
        case .tracestate: "tracestate"
        case .baggage: "baggage"
        case .grpcTimeout: "grpc-timeout"
        case .grpcStatus: "grpc-status"
        case .grpcMessage: "grpc-message"
        case .grpcEncoding: "grpc-encoding"
        case .grpcAcceptEncoding: "grpc-accept-encoding"
        }
    }
}
