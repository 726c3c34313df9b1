// SPDX-License-Identifier: Apache-2.0

/// A set of known field names: two words, so that membership costs a shift.
struct FieldNameSet: Equatable, Sendable {
    private var low: UInt64 = 0
    private var high: UInt64 = 0

    @inline(__always)
    func contains(_ name: FieldName) -> Bool {
        let index = UInt64(name.rawValue)
        return (index < 64 ? low &>> index : high &>> (index &- 64)) & 1 == 1
    }

    /// This set and `name`. Chains of calls are folded into two constants by the optimiser.
    @inline(__always)
    func with(_ name: FieldName) -> FieldNameSet {
        var set = self
        let index = UInt64(name.rawValue)
        if index < 64 { set.low |= 1 &<< index } else { set.high |= 1 &<< (index &- 64) }
        return set
    }
}

extension FieldNameSet {
    /// Never copied from one connection to the next: they speak of the connection, or the proxy writes them itself.
    ///
    /// RFC 9110 section 7.6.1 names all but `Content-Length`, `Host` and `HTTP2-Settings`. The first two are written
    /// anew in one canonical form, so that the next hop cannot read another length or authority out of an unusual
    /// spelling. `HTTP2-Settings` belongs to the h2c upgrade, which RFC 9113 section 3.1 has retired.
    @inline(__always)
    static var rewritten: FieldNameSet {
        FieldNameSet().with(.connection).with(.keepAlive).with(.proxyConnection).with(.te).with(.transferEncoding)
            .with(.upgrade).with(.http2Settings).with(.contentLength).with(.host)
    }

    /// In HTTP/2 a message that has one of these is malformed (RFC 9113 section 8.2.2).
    @inline(__always)
    static var ofConnection: FieldNameSet {
        FieldNameSet().with(.connection).with(.keepAlive).with(.proxyConnection).with(.transferEncoding).with(.upgrade)
    }

    /// In a trailer section these are an attack, not a mistake: a next hop that merges trailers into the head would
    /// frame or route another message (RFC 9110 section 6.5.1, RFC 9112 section 7.1.2).
    @inline(__always)
    static var refusedInTrailers: FieldNameSet {
        FieldNameSet().with(.transferEncoding).with(.contentLength).with(.host)
    }

    /// In a trailer section these are dropped: fields of routing, request modifiers, authentication, response control
    /// and content format (RFC 9110 section 6.5.1), and fields of the connection (section 7.6.1).
    ///
    /// Those about the sender that a proxy writes into heads are here too: a trailer must not contradict them.
    @inline(__always)
    static var droppedInTrailers: FieldNameSet {
        FieldNameSet().with(.connection).with(.keepAlive).with(.proxyConnection).with(.te).with(.upgrade)
            .with(.http2Settings).with(.trailer).with(.expect).with(.maxForwards).with(.authorization)
            .with(.proxyAuthorization).with(.proxyAuthenticate).with(.wwwAuthenticate).with(.cookie).with(.setCookie)
            .with(.cacheControl).with(.pragma).with(.range).with(.ifMatch).with(.ifNoneMatch).with(.ifModifiedSince)
            .with(.ifUnmodifiedSince).with(.ifRange).with(.age).with(.date).with(.expires).with(.retryAfter)
            .with(.vary).with(.warning).with(.location).with(.contentType).with(.contentEncoding).with(.contentRange)
            .with(.forwarded).with(.xForwardedFor).with(.xForwardedHost).with(.xForwardedProto).with(.xRealIp)
    }
}
