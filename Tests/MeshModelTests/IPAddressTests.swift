// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct IPAddressTests {
    @Test(arguments: [
        ("10.0.0.1", "10.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"),
        ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("FD00::A", "fd00::a"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("::ffff:10.0.0.1", "10.0.0.1"), ("::ffff:a00:1", "10.0.0.1"), ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        // RFC 5952 sections 4.2.2 and 4.2.3: no run of one, the longest run, the first of equals.
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("0:0:0:0:0:0:0:1", "::1"), ("1:0:0:0:0:0:0:0", "1::"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ])
    func readsAndWrites(_ text: String, _ canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(IPAddress(canonical) == address)
        #expect(IPAddress(bytes: address.bytes) == address)
        #expect(IPAddress(networkWords: address.networkWords) == address)
    }

    @Test(arguments: [
        "", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "1..2.3", "+1.2.3.4", "0x1.2.3.4",
        ":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8",
        "12345::",
        "g::", "::1%eth0", "[::1]", "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4::", "::1.2.3", "1:", ":1",
    ])
    func refuses(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test func wordsAreInNetworkOrderInMemory() throws {
        let words = try #require(IPAddress("10.1.2.3")).networkWords
        let bytes = withUnsafeBytes(of: words) { Array($0) }
        #expect(bytes == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3])
    }
}

@Suite struct CIDRTests {
    @Test(arguments: [
        ("10.1.2.3/8", "10.0.0.0/8", UInt8(104)), ("0.0.0.0/0", "0.0.0.0/0", 96), ("1.2.3.4/32", "1.2.3.4/32", 128),
        ("::/0", "::/0", 0), ("fd00:1::5/32", "fd00:1::/32", 32), ("::ffff:0:0/96", "0.0.0.0/0", 96),
        ("2001:db8::/64", "2001:db8::/64", 64), ("::1/128", "::1/128", 128),
    ])
    func readsAndWrites(_ text: String, _ canonical: String, _ bits: UInt8) throws {
        let cidr = try #require(CIDR(text))
        #expect(cidr.description == canonical)
        #expect(cidr.bits == bits)
        #expect(CIDR(canonical) == cidr)
    }

    @Test(arguments: ["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "::/129", "/8", "10.0.0.0/-1", "10.0.0/8"])
    func refuses(_ text: String) {
        #expect(CIDR(text) == nil)
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false), ("0.0.0.0/0", "8.8.8.8", true),
        ("::/0", "8.8.8.8", false), ("::/0", "fd00::1", true), ("0.0.0.0/0", "fd00::1", false),
        ("10.0.0.1/32", "10.0.0.1", true), ("10.0.0.1/32", "10.0.0.0", false), ("fd00::/63", "fd00:0:0:1::", true),
        ("fd00::/64", "fd00:0:0:1::", false), ("fd00::/65", "fd00::8000:0:0:0", false), ("::/64", "::1", true),
    ])
    func contains(_ cidr: String, _ address: String, _ expected: Bool) throws {
        #expect(try #require(CIDR(cidr)).contains(#require(IPAddress(address))) == expected)
    }

    @Test func anAddressAloneIsItsOwnPrefix() {
        #expect(CIDR(addressOrPrefix: "10.0.0.1")?.description == "10.0.0.1/32")
        #expect(CIDR(addressOrPrefix: "fd00::1")?.description == "fd00::1/128")
        #expect(CIDR(addressOrPrefix: "x") == nil)
    }
}
