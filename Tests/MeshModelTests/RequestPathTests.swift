// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import MeshModel

@Suite struct RequestPathTests {
    /// - Returns: `nil` if the path is refused.
    static func readings(_ path: String) -> [String]? {
        if case .success(let readings) = read(path) { readings } else { nil }
    }

    static func read(_ path: String) -> Result<[String], RequestPathDefect> {
        let bytes = Array(path.utf8)
        var scratch = [UInt8](repeating: 0xee, count: RequestPath.scratchSize(for: bytes.count))
        return bytes.withUnsafeBytes { bytes in
            scratch.withUnsafeMutableBytes { scratch in
                switch RequestPath.read(bytes, into: scratch) {
                case .refused(let defect): .failure(defect)
                case .path(let path):
                    .success(
                        ([path.normal] + [path.other].compactMap { $0 }).map { String(decoding: $0, as: UTF8.self) })
                }
            }
        }
    }

    @Test(arguments: [
        ("/", ["/"]),
        ("*", ["*"]),
        ("", [""]),
        ("/a/b.c/..d", ["/a/b.c/..d"]),
        ("/%61%2d%7E", ["/a-~"]),
        ("/a%40b%3a%2b", ["/a@b:+"]),
        ("/%c3%a9", ["/%C3%A9"]),
        // Servers that resolve dot segments and those that look them up.
        ("/a/./b/../c", ["/a/c", "/a/./b/../c"]),
        ("/a/%2e%2E/c", ["/c", "/a/../c"]),
        ("/..", ["/", "/.."]),
        // Servers that merge slashes and those that do not.
        ("//a///b/", ["//a///b/", "/a/b/"]),
        ("/a//", ["/a//", "/a/"]),
        // Servers that decode before they split and those that split first.
        ("/a%2fb", ["/a%2Fb", "/a/b"]),
        ("/a%2F%2Fb", ["/a%2F%2Fb", "/a/b"]),
        // Servers that know parameters of segments and those that do not.
        ("/a;x=1/b;y", ["/a;x=1/b;y", "/a/b"]),
        ("/;x/a", ["/;x/a", "/a"]),
        // Characters that have two spellings.
        ("/a[1]|b", ["/a[1]|b", "/a%5B1%5D%7Cb"]),
        ("/a//[", ["/a//[", "/a/%5B"]),
    ])
    func read(_ path: String, _ readings: [String]) {
        #expect(Self.readings(path) == readings)
    }

    @Test(
        arguments: [
            ("a", .notAbsolute), ("http://x/a", .notAbsolute), ("**", .notAbsolute),
            ("/a b", .forbiddenCharacter), ("/a#b", .forbiddenCharacter), ("/a?b", .forbiddenCharacter),
            ("/a\u{0}b", .forbiddenCharacter), ("/a\tb", .forbiddenCharacter), ("/\u{e9}", .forbiddenCharacter),
            ("/a\"b", .forbiddenCharacter), ("/<a>", .forbiddenCharacter), ("/a\u{7f}", .forbiddenCharacter),
            ("/%", .invalidEscape), ("/%4", .invalidEscape), ("/%zz", .invalidEscape), ("/%u002e", .invalidEscape),
            ("/%%32%65", .invalidEscape),
            ("/admin%00.txt", .escapedControl), ("/a%0d%0aSet-Cookie:x", .escapedControl), ("/%7F", .escapedControl),
            ("/a\\b", .backslash), ("/a%5Cb", .backslash), ("/..%5c..%5cadmin", .backslash),
            ("/%252e%252e/admin", .doubleEscape), ("/a%252Fb", .doubleEscape), ("/a%255cb", .doubleEscape),
            ("/a%25%32%46b", .doubleEscape), ("/a%2500", .doubleEscape), ("/a%25252e", .doubleEscape),
            ("/%c0%ae%c0%ae/admin", .overlongUTF8), ("/a%C0%AFb", .overlongUTF8), ("/a%c1%9cb", .overlongUTF8),
            ("/%e0%80%af", .overlongUTF8), ("/%f0%80%80%af", .overlongUTF8), ("/%fe", .overlongUTF8),
            ("/public/..%2fadmin", .hiddenDotSegment), ("/public/%2e%2e%2fadmin", .hiddenDotSegment),
            ("/public/..;/admin", .hiddenDotSegment), ("/public/.;x/admin", .hiddenDotSegment),
            ("/a%2f..%2fb", .hiddenDotSegment), ("/a/..;", .hiddenDotSegment),
            ("/a%2Fb;x", .ambiguous), ("//a/../b", .ambiguous), ("/a//b%2Fc", .ambiguous), ("/a;x/../b", .ambiguous),
            ("/a%2f../../b", .ambiguous), ("//;/a", .ambiguous),
        ] as [(String, RequestPathDefect)])
    func refuse(_ path: String, _ defect: RequestPathDefect) {
        #expect(Self.read(path) == .failure(defect))
    }

    /// The short look at a path finds no more and no less than the long one, whatever byte stands where.
    @Test func plainIsWhatNothingIsDoubtfulAbout() {
        var wrong: [String] = []
        for text in ["X", "X/a", "/X", "/aXb", "/a/X", "/aX/", "/a/Xb", "/.X", "/a.X", "/Xa/X", "/aXX"] {
            for byte in 0...UInt8.max {
                let path = text.utf8.map { $0 == UInt8(ascii: "X") ? byte : $0 }
                path.withUnsafeBytes { path in
                    var doubts = PathDoubts()
                    let isPlain = path.first == UInt8(ascii: "/") && doubts.scan(path) == nil && doubts.isNone
                    if RequestPath.isPlain(path) != isPlain { wrong.append("\(text) with \(byte)") }
                }
            }
        }
        #expect(wrong.isEmpty)
        #expect(!RequestPath.isPlain(UnsafeRawBufferPointer(start: nil, count: 0)))
    }

    /// Every beginning of a path is read without leaving the scratch space, and no escape is cut in two.
    @Test func prefixes() {
        let path = "/a%2fb//c;d=%C3%A9/../%e0%a0%80[x]|%252f/%41"
        for length in 0...path.utf8.count {
            let prefix = String(decoding: path.utf8.prefix(length), as: UTF8.self)
            guard let readings = Self.readings(prefix) else { continue }
            for reading in readings { #expect(!reading.hasSuffix("%") && reading.first == prefix.first) }
        }
    }
}
