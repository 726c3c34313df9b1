// SPDX-License-Identifier: Apache-2.0

@testable import L7Proxy

/// Heads that came by HTTP/2, written as HTTP/1.
enum Translation {
    static func http1(_ stream: HTTP2Stream, _ forwarding: RequestForwarding = RequestForwarding()) -> String? {
        written(room: HTTP1HeadWriter.bound(forwarding: stream.request.length)) { writer in
            stream.withFields { fields, base in writer.beginRequest(stream.request, &fields, in: base, forwarding) }
        }
    }

    static func http1Response(_ stream: HTTP2Stream) -> (text: String?, framing: BodyFraming) {
        var framing = BodyFraming.none
        let text = written(room: HTTP1HeadWriter.bound(forwarding: stream.response.length)) { writer in
            framing = stream.withFields { fields, base in writer.beginResponse(stream.response, &fields, in: base) }
        }
        return (text, framing)
    }

    private static func written(room: Int, _ body: (inout HTTP1HeadWriter) -> Void) -> String? {
        guard case .success(let bytes) = Forwarding.written(room, body) else { return nil }
        return String(String.UnicodeScalarView(bytes.map { UnicodeScalar($0) }))
    }
}
