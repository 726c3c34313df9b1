// SPDX-License-Identifier: Apache-2.0

@testable import L7Proxy

/// Frames as a peer writes them, valid or not (RFC 9113 section 6), with an encoder of HPACK that knows literals only.
enum H2Frames {
    static let preface = Array(HTTP2Preface.text.description.utf8)

    /// What a client sends first.
    static let opening = preface + frame(4, 0, 0, [])

    static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
        let length = payload.count
        return [UInt8(length >> 16 & 255), UInt8(length >> 8 & 255), UInt8(length & 255), type, flags]
            + big(stream) + payload
    }

    static func big(_ word: UInt32) -> [UInt8] { withUnsafeBytes(of: word.bigEndian) { Array($0) } }

    static func block(_ fields: [(String, String)], neverIndexed: Bool = false) -> [UInt8] {
        fields.flatMap { name, value in
            [neverIndexed ? 0x10 : 0x00] + text(Array(name.utf8)) + text(value.unicodeScalars.map { UInt8($0.value) })
        }
    }

    private static func text(_ bytes: [UInt8]) -> [UInt8] {
        guard bytes.count >= 127 else { return [UInt8(bytes.count)] + bytes }
        var prefix: [UInt8] = [127]
        var rest = bytes.count - 127
        while rest >= 128 {
            prefix.append(UInt8(rest & 127) | 128)
            rest >>= 7
        }
        return prefix + [UInt8(rest)] + bytes
    }

    static func headers(
        _ stream: UInt32, _ fields: [(String, String)], end: Bool = true, neverIndexed: Bool = false
    ) -> [UInt8] {
        frame(1, end ? 5 : 4, stream, block(fields, neverIndexed: neverIndexed))
    }

    static func data(_ stream: UInt32, _ bytes: [UInt8], end: Bool = false) -> [UInt8] {
        frame(0, end ? 1 : 0, stream, bytes)
    }

    static func reset(_ stream: UInt32, _ code: HTTP2ErrorCode = .cancel) -> [UInt8] {
        frame(3, 0, stream, big(code.rawValue))
    }

    static let get = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
    static let post = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")]

    /// One frame of what a session of ours has sent.
    struct Sent: Equatable {
        var type: UInt8
        var flags: UInt8
        var stream: UInt32
        var payload: [UInt8]

        /// Of RST_STREAM; of GOAWAY.
        var code: HTTP2ErrorCode? {
            switch type {
            case 3: HTTP2ErrorCode(rawValue: Sent.word(payload, 0))
            case 7: HTTP2ErrorCode(rawValue: Sent.word(payload, 4))
            default: nil
            }
        }

        static func word(_ bytes: [UInt8], _ place: Int) -> UInt32 {
            bytes[place..<place + 4].reduce(0) { $0 << 8 | UInt32($1) }
        }
    }

    static func parse(_ bytes: [UInt8]) -> [Sent] {
        var all: [Sent] = []
        var place = bytes.starts(with: preface) ? preface.count : 0
        while place + 9 <= bytes.count {
            let length = Int(bytes[place]) << 16 | Int(bytes[place + 1]) << 8 | Int(bytes[place + 2])
            all.append(
                Sent(
                    type: bytes[place + 3], flags: bytes[place + 4], stream: Sent.word(bytes, place + 5) & 0x7fff_ffff,
                    payload: Array(bytes[place + 9..<place + 9 + length])))
            place += 9 + length
        }
        return all
    }
}

extension H2Peer {
    /// A server that has the opening, and has sent its own.
    static func opened(_ limits: HTTP2Limits = HTTP2Limits()) -> H2Peer {
        let peer = H2Peer.server(limits)
        peer.receive(H2Frames.opening)
        _ = peer.output()
        return peer
    }

    /// What the session sends, in frames.
    func frames() -> [H2Frames.Sent] { H2Frames.parse(output()) }

    /// With which code it resets `stream`, if it does.
    func resetCode(_ stream: UInt32 = 1) -> HTTP2ErrorCode? {
        frames().first { $0.type == 3 && $0.stream == stream }?.code
    }
}
