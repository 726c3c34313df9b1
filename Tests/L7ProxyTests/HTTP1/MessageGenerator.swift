// SPDX-License-Identifier: Apache-2.0

/// A small generator of numbers that are the same in every run (SplitMix64, Steele et al. 2014).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// Makes messages that are mostly valid, in unusual shapes, and damages them.
struct MessageGenerator {
    private(set) var random: SeededGenerator

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    private mutating func pick(_ choices: [String]) -> String { choices.randomElement(using: &random)! }

    private mutating func blank() -> String { chance(70) ? " " : pick(["", "\t", "  ", " \t "]) }

    private mutating func cased(_ text: String) -> String {
        chance(70) ? text : pick([text.uppercased(), text.lowercased(), swapped(text)])
    }

    /// `text` with letters of the other case.
    private func swapped(_ text: String) -> String {
        String(decoding: text.utf8.map { 0x61...0x7a ~= $0 | 0x20 ? $0 ^ 0x20 : $0 }, as: UTF8.self)
    }

    private mutating func line(_ name: String, _ value: String) -> String {
        "\(cased(name)):\(blank())\(value)\(chance(85) ? "" : blank())\r\n"
    }

    private mutating func word(_ characters: String, _ lengths: ClosedRange<Int>) -> String {
        let all = Array(characters)
        return String((0..<Int.random(in: lengths, using: &random)).map { _ in all.randomElement(using: &random)! })
    }

    private mutating func otherFields() -> String {
        var lines = ""
        for _ in 0..<Int.random(in: 0...6, using: &random) {
            switch Int.random(in: 0..<6, using: &random) {
            case 0:
                lines += line("Connection", pick(["close", "keep-alive", "x-a", "x-a, close", "Upgrade", "te,,close"]))
            case 1: lines += line("TE", pick(["trailers", "gzip", "trailers, deflate;q=0.5"]))
            case 2:
                lines += line(pick(["X-A", "X-B", "Cookie", "Accept", "User-Agent"]), word("abc ,;=\"()\t", 0...20))
            case 3: lines += line("Upgrade", pick(["websocket", "h2c"]))
            case 4: lines += line(word("abcXYZ019-_!#~", 1...20), word("abcdef 0123456789", 0...40))
            default:
                lines += line(
                    pick(["Expect", "Via", "Trailer", "Keep-Alive"]), pick(["100-continue", "1.1 x", "X-Sum"]))
            }
        }
        return lines
    }

    private mutating func chunkedBody() -> String {
        var body = ""
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let data = word("abc0123\r\n", 1...30)
            let digits = String(data.utf8.count, radix: 16)
            let size = chance(70) ? digits : pick([digits.uppercased(), "0\(digits)", "000\(digits)"])
            let tail = chance(80) ? "" : pick([";a", ";a=b", ";a=\"b c\"", " ;a", ";", ";;"])
            body += "\(size)\(tail)\r\n\(data)\r\n"
        }
        body += pick(["0", "0", "00", "0;x"]) + "\r\n"
        if chance(30) { body += line(pick(["X-Sum", "Grpc-Status", "Cookie"]), word("abc123", 0...8)) }
        return body + "\r\n"
    }

    /// Field lines of framing, the empty line, and the body that goes with them; now and then one that does not.
    private mutating func framingAndBody(mayEndWithConnection: Bool) -> (lines: String, body: String) {
        switch Int.random(in: 0..<10, using: &random) {
        case 0...2: return ("", mayEndWithConnection ? word("abc", 0...20) : "")
        case 3...5:
            let body = word("abc\r\n:0 ", 0...40)
            let count = String(body.utf8.count)
            let unusual = ["0\(count)", "\(count), \(count)", "+\(count)", "\(count),", " \(count)"]
            let value = chance(80) ? count : pick(unusual)
            let again = chance(90) ? "" : line("Content-Length", value)
            return ("\(line("Content-Length", value))\(again)", body)
        case 6...8:
            let value =
                chance(85) ? cased("chunked") : pick(["gzip, chunked", "chunked, chunked", "identity", "xchunked"])
            return (line("Transfer-Encoding", value), chunkedBody())
        default: return (line("Transfer-Encoding", "chunked") + line("Content-Length", "5"), chunkedBody())
        }
    }

    mutating func request() -> String {
        let method = pick(["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "M-SEARCH", "get", "TRACE"])
        let path = "/\(word("abc/.-_~%41:@!$&'()*+,;=", 0...20).replacingPercents())"
        let query = chance(50) ? "" : "?\(word("ab=&?/[]|", 0...15))"
        let target = chance(75) ? "\(path)\(query)" : pick(["http://x:1/a?b", "*", "http://x"])
        let version = chance(88) ? "1.1" : pick(["1.0", "1.0", "1.2", "2.0", "0.9"])
        let host =
            chance(92)
            ? line("Host", pick(["a", "a.b:80", "[::1]:8080", "", "10.0.0.1"])) : pick(["", "Host: a\r\nHost: a\r\n"])
        let (lines, body) = framingAndBody(mayEndWithConnection: false)
        let others = otherFields()
        let fields = chance(50) ? "\(host)\(others)\(lines)" : "\(others)\(lines)\(host)"
        return "\(method) \(target) HTTP/\(version)\r\n\(fields)\r\n\(body)"
    }

    mutating func response() -> String {
        let status = pick(["200", "200", "201", "204", "304", "404", "500", "301", "99", "600"])
        let reason = chance(80) ? " " + word("abc OK", 0...12) : pick(["", " "])
        let version = chance(85) ? "1.1" : pick(["1.0", "1.0", "1.3", "3.0"])
        let (lines, body) = framingAndBody(mayEndWithConnection: true)
        return "HTTP/\(version) \(status)\(reason)\r\n\(otherFields())\(lines)\r\n\(body)"
    }

    /// `text` with one to three changes of the kind that parties have disagreed about.
    mutating func damaged(_ text: String) -> [UInt8] {
        var bytes = Array(text.utf8)
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            guard !bytes.isEmpty else { break }
            let place = Int.random(in: 0..<bytes.count, using: &random)
            let special: [UInt8] = [
                0x00, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x22, 0x2b, 0x2c, 0x30, 0x3a, 0x3b, 0x7f, 0xff,
            ]
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bytes[place] = special.randomElement(using: &random)!
            case 1: bytes.insert(special.randomElement(using: &random)!, at: place)
            case 2: bytes.remove(at: place)
            case 3: bytes[place] ^= 0x20
            case 4: bytes.insert(contentsOf: [0x0d, 0x0a], at: place)
            default:
                let end = min(bytes.count, place + Int.random(in: 1...12, using: &random))
                bytes.insert(contentsOf: bytes[place..<end], at: Int.random(in: 0..<bytes.count, using: &random))
            }
        }
        return bytes
    }
}

extension String {
    /// Percent signs stand for an escape.
    fileprivate func replacingPercents() -> String {
        split(separator: "%", omittingEmptySubsequences: false).joined(separator: "%41")
    }
}
