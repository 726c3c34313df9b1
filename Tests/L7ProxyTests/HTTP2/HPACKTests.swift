// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import L7Proxy

/// Header compression: the examples of RFC 7541, and ours against nghttp2's.
@Suite struct HPACKTests {
    private static func bytes(_ hex: String) -> [UInt8] {
        let digits = hex.filter { !$0.isWhitespace }.map { UInt8($0.hexDigitValue!) }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    private static let requests: [[RawField]] = [
        [
            RawField(":method", "GET"), RawField(":scheme", "http"), RawField(":path", "/"),
            RawField(":authority", "www.example.com"),
        ],
        [
            RawField(":method", "GET"), RawField(":scheme", "http"), RawField(":path", "/"),
            RawField(":authority", "www.example.com"), RawField("cache-control", "no-cache"),
        ],
        [
            RawField(":method", "GET"), RawField(":scheme", "https"), RawField(":path", "/index.html"),
            RawField(":authority", "www.example.com"), RawField("custom-key", "custom-value"),
        ],
    ]

    /// Appendix C.3 and C.4: the same requests without and with the Huffman code.
    @Test(arguments: [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ])
    func theExamplesOfRequests(_ blocks: [String]) {
        let own = OwnHPACK()
        for (block, fields) in zip(blocks, Self.requests) { #expect(own.decode(Self.bytes(block)) == fields) }
    }

    /// Appendix C.5 and C.6: entries are dropped for want of room; the peer has made its table 256 bytes large.
    @Test(arguments: [
        [
            """
            4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d
            546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d
            """, "4803 3330 37c1 c0bf",
            """
            88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f
            6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b
            2076 6572 7369 6f6e 3d31
            """,
        ],
        [
            """
            4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7
            8f0b 97c8 e9ae 82ae 43d3
            """, "4883 640e ffc1 c0bf",
            """
            88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335
            dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07
            """,
        ],
    ])
    func theExamplesOfResponses(_ blocks: [String]) {
        let first = [
            RawField(":status", "302"), RawField("cache-control", "private"),
            RawField("date", "Mon, 21 Oct 2013 20:13:21 GMT"), RawField("location", "https://www.example.com"),
        ]
        let third = [
            RawField(":status", "200"), RawField("cache-control", "private"),
            RawField("date", "Mon, 21 Oct 2013 20:13:22 GMT"), RawField("location", "https://www.example.com"),
            RawField("content-encoding", "gzip"),
            RawField("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
        ]
        let own = OwnHPACK()
        // A table of 256 bytes: 5 bits of prefix, 31 + 225.
        #expect(own.decode([0x3f, 0xe1, 0x01] + Self.bytes(blocks[0])) == first)
        #expect(own.decode(Self.bytes(blocks[1])) == [RawField(":status", "307")] + first[1...])
        #expect(own.decode(Self.bytes(blocks[2])) == third)
    }

    private static let malformed: [(String, String)] = [
        ("6.1 index 0", "80"), ("2.3.3 an index behind the tables", "be"), ("5.1 an integer without its end", "ff80"),
        ("5.1 an integer that is too large", "ff ffff ffff ffff ff7f"), ("5.2 a string without its end", "000361"),
        ("5.2 a name without a value", "000161"), ("5.2 padding of a whole byte", "0001 6182 1fff"),
        ("5.2 padding of zeros", "0001 6181 18"), ("5.2 the end of the string in it", "0001 6184 ffff ffff"),
        ("6.3 a table above the limit", "3fe2 1f"), ("4.2 a table behind the first field", "82 20"),
    ]

    @Test(arguments: malformed)
    func whatIsMalformedIsRefused(_ row: (rule: String, block: String)) {
        #expect(OwnHPACK().decode(Self.bytes(row.block)) == nil, "\(row.rule)")
        #expect(OtherHPACK().decode(Self.bytes(row.block)) == nil, "nghttp2: \(row.rule)")
    }

    /// RFC 7541 section 4.2: who has acknowledged a smaller table must say so before it goes on.
    @Test func aSmallerTableIsSaidFirst() {
        let own = OwnHPACK(tableBytes: 100)
        #expect(own.decode([0x3f, 0xe1, 0x1f, 0x82]) != nil, "4096 may be used as long as it is not acknowledged")
        own.settleDecoder(100)
        #expect(own.decode([0x3f, 0x45, 0x82]) != nil, "100 is said")
        #expect(own.decode([0x3f, 0x46, 0x82]) == nil, "101 is too much")
        let other = OwnHPACK(tableBytes: 100)
        other.settleDecoder(100)
        #expect(other.decode([0x82]) == nil)
    }

    /// A message's worth of fields: some that come again and again, some that are new each time.
    private static func fields(_ random: inout SeededGenerator) -> [RawField] {
        let names = [
            "date", "x-request-id", "content-type", "grpc-status", "traceparent", "x-a", "cookie", "authorization",
            "te",
            "user-agent", "accept-encoding", "x-forwarded-for", "set-cookie", "server", "content-length",
        ]
        let values = ["", "0", "application/grpc", "gzip, deflate", "trailers", String(repeating: "v", count: 126)]
        var fields =
            Bool.random(using: &random) ? requests.randomElement(using: &random)! : [RawField(":status", "200")]
        for _ in 0..<Int.random(in: 0..<12, using: &random) {
            let name = Array(names.randomElement(using: &random)!.utf8)
            let value =
                Int.random(in: 0..<3, using: &random) > 0
                ? Array(values.randomElement(using: &random)!.utf8)
                : (0..<Int.random(in: 0..<400, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            let isSecret = ["authorization", "set-cookie"].contains(String(decoding: name, as: UTF8.self))
            fields.append(RawField(name, value, neverIndexed: isSecret || Int.random(in: 0..<9, using: &random) == 0))
        }
        return fields
    }

    /// RFC 7541 section 7.1.3: what we never index says so on the wire too, short cookies among it.
    private static func sent(_ fields: [RawField]) -> [RawField] {
        fields.map { field in
            let isShort = field.name == Array("cookie".utf8) && field.value.count < 20
            return RawField(field.name, field.value, neverIndexed: field.neverIndexed || isShort)
        }
    }

    @Test(arguments: [4096, 0, 64, 200, 1000, 8192])
    func whatWeWriteNghttp2Reads(_ limit: Int) {
        var random = SeededGenerator(seed: UInt64(limit) + 1)
        let (own, other) = (OwnHPACK(tableBytes: limit), OtherHPACK())
        for round in 0..<400 {
            let fields = Self.fields(&random)
            let block = own.encode(fields)
            #expect(other.decode(block) == Self.sent(fields), "round \(round)")
            // The peer changes its mind between two blocks, perhaps twice.
            for _ in 0..<Int.random(in: 0..<8, using: &random) / 6 {
                own.limitEncoder(UInt32.random(in: 0...4096, using: &random))
            }
        }
    }

    @Test(arguments: [4096, 0, 64, 200, 1000])
    func whatNghttp2WritesWeRead(_ limit: Int) {
        var random = SeededGenerator(seed: UInt64(limit) + 2)
        let (own, other) = (OwnHPACK(), OtherHPACK(tableBytes: limit))
        for round in 0..<400 {
            let fields = Self.fields(&random)
            let block = other.encode(fields)
            let read = own.decode(block)
            #expect(
                read?.map { RawField($0.name, $0.value) } == fields.map { RawField($0.name, $0.value) },
                "round \(round)")
            for _ in 0..<Int.random(in: 0..<8, using: &random) / 6 {
                other.limitEncoder(Int.random(in: 0...limit, using: &random))
            }
        }
    }

    /// What comes a second time is put into the table, and costs a byte from then on; names that differ in case only are the
    /// same.
    @Test func whatComesAgainCostsAByte() {
        let (own, other) = (OwnHPACK(), OtherHPACK())
        let field = [RawField("X-Tenant", "a tenant's name"), RawField("grpc-status", "0")]
        let sizes = (0..<4).map { _ in
            let block = own.encode(field)
            #expect(other.decode(block) == [RawField("x-tenant", "a tenant's name"), field[1]])
            return block.count
        }
        #expect(sizes[0] == sizes[1] && sizes[2] == 2 && sizes[3] == 2, "\(sizes)")
        #expect(own.encode([RawField("x-TENANT", "a tenant's name")]).count == 1)
    }

    /// Blocks with errors in them: both see them, or neither does.
    @Test func bothRefuseTheSame() {
        var random = SeededGenerator(seed: 7)
        var refused = 0
        for round in 0..<3000 {
            let (own, other) = (OwnHPACK(), OtherHPACK())
            let writer = OtherHPACK()
            for _ in 0..<2 {
                var block = writer.encode(Self.fields(&random))
                for _ in 0..<Int.random(in: 0..<4, using: &random) where !block.isEmpty {
                    block[Int.random(in: 0..<block.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                if Int.random(in: 0..<4, using: &random) == 0 {
                    block.removeLast(Int.random(in: 0...block.count, using: &random))
                }
                let (mine, others) = (own.decode(block), other.decode(block))
                #expect(mine == others, "round \(round): \(block)")
                if mine != others { return }
                refused += mine == nil ? 1 : 0
                if mine == nil { break }
            }
        }
        #expect(refused > 500 && refused < 2900, "\(refused)")
    }
}
