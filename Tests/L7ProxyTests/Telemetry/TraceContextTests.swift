// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import Testing

@Suite struct TraceContextTests {
    static let example: String = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    private static func parse(_ text: String) -> TraceContext? {
        Array(text.utf8).withUnsafeBytes { TraceContext($0) }
    }

    private static func written(_ context: TraceContext) -> String {
        let bytes = [UInt8](unsafeUninitializedCapacity: TraceContext.length) { buffer, count in
            context.write(into: UnsafeMutableRawBufferPointer(buffer))
            count = TraceContext.length
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test(arguments: [
        (example, example),
        (
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
        ),
        // Flags without a meaning are not passed on.
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", example),
        (
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
        ),
        (
            "00-00000000000000000000000000000001-0000000000000001-01",
            "00-00000000000000000000000000000001-0000000000000001-01"
        ),
        // Later versions: what is known of them.
        ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", example),
        ("fe-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-is-to-come", example),
        ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-", example),
    ])
    func isRead(_ text: String, _ expected: String) {
        #expect(Self.parse(text).map(Self.written) == expected)
    }

    @Test(arguments: [
        "", "00", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-B7ad6b7169203331-01",
        "0G-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
        " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-001",
    ])
    func isRefused(_ text: String) { #expect(Self.parse(text) == nil) }

    @Test func everyPrefixIsInvalid() {
        for length in 0..<Self.example.count { #expect(Self.parse(String(Self.example.prefix(length))) == nil) }
    }

    @Test func newTraces() {
        let new = TraceContext(random: (1, 2, 3), isSampled: true)
        #expect(Self.written(new) == "00-00000000000000010000000000000002-0000000000000003-01")
        for zeros in [
            TraceContext(random: (0, 0, 0), isSampled: false), TraceContext(random: (5, 0, 0), isSampled: true),
        ] {
            #expect(Self.parse(Self.written(zeros)) == zeros, "never invalid")
        }
    }

    private static func isState(_ lines: [String]) -> Bool {
        var state = TraceState()
        for line in lines { Array(line.utf8).withUnsafeBytes { state.add($0) } }
        return state.isValid
    }

    @Test func states() {
        let member = { (number: Int) in "k\(number)=v" }
        let valid: [[String]] = [
            [], [""], ["a=1"], ["a=1,b=2"], [" a=1 ,\tb=2 ", ",,"], ["a=1", "b=2"], ["1t@sys=x"], ["a_-*/0=!~ x"],
            ["a=" + String(repeating: "x", count: 256)], [String(repeating: "a", count: 256) + "=1"],
            [(0..<32).map(member).joined(separator: ",")],
            [String(repeating: "t", count: 241) + "@" + String(repeating: "s", count: 14) + "=1"],
        ]
        for lines in valid { #expect(Self.isState(lines), "\(lines)") }
        let invalid: [[String]] = [
            ["a"], ["=1"], ["a="], ["A=1"], ["1a=1"], ["a=1=2"], ["a=é"], ["a=\u{1}"], ["a b=1"], ["@s=1"], ["t@=1"],
            ["t@1=1"], ["t@s@s=1"], ["a=" + String(repeating: "x", count: 257)],
            [String(repeating: "a", count: 257) + "=1"],
            [(0..<33).map(member).joined(separator: ",")],
            [(0..<20).map(member).joined(separator: ","), (0..<13).map(member).joined(separator: ",")],
            [String(repeating: "t", count: 242) + "@s=1"], ["t@" + String(repeating: "s", count: 15) + "=1"],
        ]
        for lines in invalid { #expect(!Self.isState(lines), "\(lines)") }
    }
}
