// SPDX-License-Identifier: Apache-2.0

import Identity
import Testing

@Suite struct SPIFFEIDTests {
    static let longestDomain = String(repeating: "a", count: 255)

    @Test(arguments: [
        ("spiffe://cluster.local/ns/shop/sa/web", "cluster.local", "/ns/shop/sa/web"),
        ("spiffe://td", "td", ""), ("spiffe://a.b-c_d.0/x", "a.b-c_d.0", "/x"),
        ("spiffe://td/A.b-C_9/...", "td", "/A.b-C_9/..."), ("spiffe://td/.x/..x/x.", "td", "/.x/..x/x."),
        ("spiffe://1.2.3.4/x", "1.2.3.4", "/x"), ("spiffe://\(longestDomain)/x", longestDomain, "/x"),
        ("spiffe://.-_/-", ".-_", "/-"),
    ])
    func reads(_ text: String, _ domain: String, _ path: String) throws {
        let id = try SPIFFEID(text)
        #expect(id.trustDomain.name == domain)
        #expect(id.path == path)
        #expect(id.description == text)
        #expect(try SPIFFEID(id.description) == id)
    }

    @Test(arguments: ["SPIFFE://td/x", "Spiffe://td/x", "sPIFFe://td/x"])
    func aSchemeIsReadInAnyCase(_ text: String) throws {
        #expect(try SPIFFEID(text).description == "spiffe://td/x")
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let text: String
        let reason: SPIFFEIDError.Reason
        let offset: Int

        init(_ text: String, _ reason: SPIFFEIDError.Reason, _ offset: Int) {
            self.text = text
            self.reason = reason
            self.offset = offset
        }

        var testDescription: String { text.count > 60 ? "\(text.prefix(60))... (\(text.count))" : text }
    }

    static let refusals: [Refusal] = [
        Refusal("", .empty, 0),
        Refusal("http://td/x", .scheme, 0), Refusal("spiffe:/td/x", .scheme, 8), Refusal("spiffe:td", .scheme, 7),
        Refusal("spiffes://td", .scheme, 6), Refusal(" spiffe://td", .scheme, 0), Refusal("spiffe", .scheme, 6),
        Refusal("spiffe\u{1a}//td", .scheme, 6), Refusal("spiffe:\u{0f}/td", .scheme, 7),
        Refusal("spiffe://", .emptyTrustDomain, 9), Refusal("spiffe:///x", .emptyTrustDomain, 9),
        Refusal("spiffe://Td/x", .upperCaseTrustDomain(UInt8(ascii: "T")), 9),
        Refusal("spiffe://td:80/x", .port, 11), Refusal("spiffe://td:/x", .port, 11),
        Refusal("spiffe://u@td/x", .userInformation, 10), Refusal("spiffe://@td/x", .userInformation, 9),
        Refusal("spiffe://t%64/x", .percentEncoding, 10), Refusal("spiffe://t~d/x", .trustDomainByte(0x7e), 10),
        Refusal("spiffe://[::1]/x", .trustDomainByte(0x5b), 9), Refusal("spiffe://t d/x", .trustDomainByte(0x20), 10),
        Refusal("spiffe://t\u{0}d/x", .trustDomainByte(0), 10), Refusal("spiffe://té/x", .trustDomainByte(0xc3), 10),
        Refusal("spiffe://td?q", .query, 11), Refusal("spiffe://td#f", .fragment, 11),
        Refusal("spiffe://\(longestDomain)a/x", .longTrustDomain(bytes: 256), 264),
        Refusal("spiffe://td/", .trailingSlash, 11), Refusal("spiffe://td/x/", .trailingSlash, 13),
        Refusal("spiffe://td//x", .emptySegment, 12), Refusal("spiffe://td/x//y", .emptySegment, 14),
        Refusal("spiffe://td/./x", .dotSegment, 12), Refusal("spiffe://td/x/..", .dotSegment, 14),
        Refusal("spiffe://td/../x", .dotSegment, 12), Refusal("spiffe://td/.", .dotSegment, 12),
        Refusal("spiffe://td/%61", .percentEncoding, 12), Refusal("spiffe://td/x?q", .query, 13),
        Refusal("spiffe://td/x#f", .fragment, 13), Refusal("spiffe://td/a b", .pathByte(0x20), 13),
        Refusal("spiffe://td/a\u{0}", .pathByte(0), 13), Refusal("spiffe://td/a:b", .pathByte(0x3a), 13),
        Refusal("spiffe://td/a~b", .pathByte(0x7e), 13), Refusal("spiffe://td/é", .pathByte(0xc3), 12),
        Refusal("spiffe://td/a\n", .pathByte(0x0a), 13),
    ]

    @Test(arguments: refusals)
    func refuses(_ refusal: Refusal) throws {
        let error = try #require(throws: SPIFFEIDError.self) { try SPIFFEID(refusal.text) }
        #expect(error.reason == refusal.reason)
        #expect(error.offset == refusal.offset)
        // A line of a log, without the stranger's text.
        #expect(error.description.hasPrefix("byte \(refusal.offset): "))
        #expect(error.description.allSatisfy { $0.isASCII && !$0.isNewline })
    }

    @Test func theLimitIs2048Bytes() throws {
        let longest = "spiffe://td/" + String(repeating: "x", count: 2036)
        #expect(longest.utf8.count == 2048)
        #expect(try SPIFFEID(longest).path.utf8.count == 2037)
        let error = try #require(throws: SPIFFEIDError.self) { try SPIFFEID(longest + "x") }
        #expect(error.reason == .long(bytes: 2049))
    }

    /// Every prefix of an ID is refused, or is the ID that it says: never something else.
    @Test func everyPrefix() {
        let text = Array("spiffe://cluster.local/ns/shop/sa/web-1".utf8)
        for count in 0...text.count {
            let prefix = String(decoding: text[..<count], as: UTF8.self)
            let isComplete = count > 9 && text[count - 1] != UInt8(ascii: "/")
            let id = try? SPIFFEID(prefix)
            #expect((id != nil) == isComplete, "\(prefix)")
            #expect(id == nil || id?.description == prefix)
        }
    }

    /// Each byte in each place: what is accepted is made of allowed bytes only.
    @Test func everyByte() {
        let text = Array("spiffe://td/a/b".utf8)
        let domain = Set("abcdefghijklmnopqrstuvwxyz0123456789.-_".utf8)
        let segment = domain.union("ABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
        for byte in UInt8.min...UInt8.max {
            for (index, allowed) in [(9, domain), (10, domain), (12, segment), (14, segment)] {
                var changed = text
                changed[index] = byte
                let id = changed.withUnsafeBytes { try? SPIFFEID(bytes: $0) }
                // "." alone is no segment; a slash at 10 makes the domain "t" and the path "//a/b".
                let isDot = index >= 12 && byte == UInt8(ascii: ".")
                #expect((id != nil) == (allowed.contains(byte) && !isDot), "0x\(String(byte, radix: 16)) at \(index)")
            }
        }
    }
}

@Suite struct WorkloadIDTests {
    @Test func istioShape() throws {
        let id = try SPIFFEID(TrustDomain("cluster.local"), namespace: "shop", serviceAccount: "web")
        #expect(id.description == "spiffe://cluster.local/ns/shop/sa/web")
        #expect(id.workload?.namespace == "shop")
        #expect(id.workload?.serviceAccount == "web")
    }

    @Test(arguments: [("", "web"), ("shop", ""), ("a/b", "web"), ("shop", "a/b"), ("..", "web"), ("shop", "a%2fb")])
    func refusesParts(_ namespace: String, _ account: String) throws {
        let domain = try TrustDomain("td")
        #expect(throws: SPIFFEIDError.self) {
            try SPIFFEID(domain, namespace: namespace, serviceAccount: account)
        }
    }

    @Test(arguments: [
        "spiffe://td", "spiffe://td/x", "spiffe://td/ns/a/sa", "spiffe://td/ns/a/sb/c", "spiffe://td/nt/a/sa/c",
        "spiffe://td/ns/a/sa/c/d", "spiffe://td/NS/a/sa/c",
    ])
    func otherPathsAreNoWorkload(_ text: String) throws {
        #expect(try SPIFFEID(text).workload == nil)
    }

    @Test func aTrustDomainAloneIsItsOwnID() throws {
        #expect(try SPIFFEID(TrustDomain("td")) == SPIFFEID("spiffe://td"))
        #expect(throws: SPIFFEIDError.self) { try TrustDomain("") }
        #expect(throws: SPIFFEIDError.self) { try TrustDomain("td/x") }
    }
}
