// SPDX-License-Identifier: Apache-2.0

/// What HTTP/1 keeps of a client's connection: it reads one request after another.
struct HTTP1DownstreamCodec: BitwiseCopyable {
    var persistence = HTTP1DownstreamPersistence()
    var parser: HTTP1RequestParser
    /// Of the open request's body.
    var body: HTTP1BodyReader

    init(limits: HTTP1Limits = HTTP1Limits()) {
        parser = HTTP1RequestParser(limits: limits)
        body = HTTP1BodyReader(.none, limits: limits)
    }
}

/// What HTTP/1 keeps of a connection to a backend: it carries one request at a time.
struct HTTP1UpstreamCodec: BitwiseCopyable {
    var persistence = HTTP1UpstreamPersistence()
    var parser: HTTP1ResponseParser
    /// Of the open response's body.
    var body: HTTP1BodyReader

    init(limits: HTTP1Limits = HTTP1Limits()) {
        parser = HTTP1ResponseParser(limits: limits, for: .get)
        body = HTTP1BodyReader(.none, limits: limits)
    }
}
