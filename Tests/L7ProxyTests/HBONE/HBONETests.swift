// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import L7Proxy

@Suite struct HBONETargetTests {
    private func target(_ text: String) -> HBONETarget? {
        Array(text.utf8).withUnsafeBytes { HBONETarget($0) }
    }

    @Test(arguments: [
        ("10.0.0.1:80", "10.0.0.1", UInt16(80)), ("[fd00::1]:8080", "fd00::1", 8080), ("[::1]:1", "::1", 1),
        ("[::ffff:10.0.0.1]:443", "10.0.0.1", 443), ("255.255.255.255:65535", "255.255.255.255", 65535),
    ])
    func addresses(_ text: String, _ address: String, _ port: UInt16) throws {
        #expect(target(text) == .address(try #require(IPAddress(address)), port: port))
    }

    @Test(arguments: [
        ("web.shop.svc.cluster.local:80", 26), ("web:8080", 3), ("a-b_c.d:1", 7), ("WEB.shop:80", 8), ("1.a:80", 3),
        ("beef:80", 4),
    ])
    func services(_ text: String, _ hostBytes: Int) throws {
        let port = try #require(UInt16(text.split(separator: ":")[1]))
        #expect(target(text) == .service(hostBytes: hostBytes, port: port))
    }

    @Test(arguments: [
        "", ":80", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:+80", "10.0.0.1:80 ",
        "10.0.0.1:80/", "http://10.0.0.1:80", "user@10.0.0.1:80", "fd00::1:80", "[fd00::1]", "[fd00::1]80",
        "[fd00::1%25eth0]:80", "[10.0.0.1]:80", "[web]:80", "[]:80", "1.2.3.999:80", "1.2.3:80", "1.2.3.4.5:80",
        "0x7f.1:80", "web..shop:80", ".web:80", "web.:80", "we%62:80", "web,shop:80", "web.1:80", "*:80",
        "\(String(repeating: "a", count: 64)).b:80", "\(String(repeating: "a.", count: 126))bc:80",
    ])
    func refused(_ text: String) {
        #expect(target(text) == nil)
    }

    /// A prefix is refused or is the target that it says.
    @Test func everyPrefix() {
        for text in ["10.10.10.10:15001", "[fd00:1:2::3]:8080", "web.shop.svc.cluster.local:65535"] {
            let colon = text.utf8.count - text.split(separator: ":").last!.utf8.count
            for count in 0...text.utf8.count {
                let prefix = String(text.prefix(count))
                switch target(prefix) {
                case nil: #expect(count <= colon || prefix.contains("[") && !prefix.contains("]:"), "\(prefix)")
                case .address(_, let port)?, .service(_, let port)?:
                    #expect(prefix.hasSuffix(":\(port)"), "\(prefix)")
                }
            }
        }
    }
}

@Suite struct HBONEForwardedTests {
    private func host(_ text: String) -> String? {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBytes { value in
            HBONEForwarded.host(value).map { String(decoding: value[$0], as: UTF8.self) }
        }
    }

    @Test(arguments: [
        (#"for="10.0.0.1:80";host=web.shop"#, "web.shop"), (#"host="web.shop""#, "web.shop"), ("HOST=a;for=b", "a"),
        (#"for="[fd00::1]:80"; host=x"#, "x"), ("for=a, for=b;host=c", "c"), ("proto=http;;host=x", "x"),
        (#"for="a\"b;host=no";host=yes"#, "yes"), (#"for="a,b";host=yes"#, "yes"), ("host=a;host=b", "a"),
        ("for=10.0.0.1:80;host=web:8080", "web:8080"), (", host=x", "x"),
    ])
    func hosts(_ text: String, _ expected: String) { #expect(host(text) == expected) }

    @Test(arguments: [
        "", ",", ";", "host", "host=", "=x", "for", #"host="x"#, #"host=""#, #"host="a\"b""#, "host=a b", "hos t=x",
        "for=a b;host=x", #"for="a"b;host=x"#, "host=é", "hosts=x", "ghost=x", #"host="a b""#, "for=a\u{0};host=x",
    ])
    func none(_ text: String) { #expect(host(text) == nil) }

    @Test func everyPrefix() {
        let text = #"for="10.0.0.1:80";proto=http, for=b;host="web.shop.svc""#
        for count in 0..<text.utf8.count { #expect(host(String(text.prefix(count))) == nil, "\(count)") }
        #expect(host(text) == "web.shop.svc")
    }
}

@Suite struct HBONEBaggageTests {
    private func read(_ lines: String...) -> [String: String] {
        var message: [UInt8] = [0x23]
        var ranges: [ByteRange] = []
        for line in lines {
            ranges.append(ByteRange(message.count, message.count + line.utf8.count))
            message += Array(line.utf8) + [0x0a]
        }
        return message.withUnsafeBytes { bytes in
            var baggage = HBONEBaggage()
            for range in ranges { baggage.add(range, in: bytes.baseAddress!) }
            var found: [String: String] = [:]
            for key in HBONEBaggage.Key.allCases where !baggage[key].isEmpty {
                found["\(key.text)"] = String(decoding: baggage[key].bytes(in: bytes.baseAddress!), as: UTF8.self)
            }
            return found
        }
    }

    @Test func whatIsWrittenIsRead() {
        let values = HBONEBaggage.Key.allCases.map { ($0, "value-\($0.rawValue)") }
        let text = String(decoding: HBONEBaggage.text(values), as: UTF8.self)
        #expect(text.hasPrefix("k8s.cluster.name=value-0,k8s.namespace.name=value-1,"))
        #expect(read(text) == Dictionary(uniqueKeysWithValues: values.map { ("\($0.0.text)", $0.1) }))
    }

    @Test func valuesThatCannotBeWrittenAreLeftOut() {
        let text = HBONEBaggage.text([
            (.cluster, ""), (.service, "a,b"), (.version, "1 2"), (.zone, "é"), (.pod, "web-1"),
        ])
        #expect(String(decoding: text, as: UTF8.self) == "k8s.pod.name=web-1")
    }

    @Test func lenient() {
        #expect(
            read(" service.name = web ;ttl=3 , unknown=1,,service.version=2") == [
                "service.name": "web", "service.version": "2",
            ])
        #expect(read("service.name=", "service.name=b", "service.name=c") == ["service.name": "b"])
        #expect(read("Service.Name=x,service.name") == [:])
        #expect(read("service.name=a\u{1}b,cloud.region=é,k8s.pod.name=\"q\"") == [:])
        #expect(read("service.name=a=b") == ["service.name": "a=b"])
        #expect(read("") == [:])
    }

    @Test func limits() {
        let many = String(repeating: "x=1,", count: 64)
        #expect(read(many + "service.name=web") == [:])
        #expect(read(String(repeating: "x=1,", count: 63) + "service.name=web") == ["service.name": "web"])
        #expect(read("a=" + String(repeating: "x", count: 8191) + ",service.name=web") == [:])
    }

    @Test func everyPrefix() {
        let text = "service.name=web,cloud.region=eu"
        for count in 0...text.utf8.count {
            for (key, value) in read(String(text.prefix(count))) {
                #expect(text.contains("\(key)=\(value)"), "\(count)")
            }
        }
    }
}

@Suite struct HBONERequestTests {
    private func fields(_ request: HBONERequest) throws -> [String] {
        var writer = HBONERequestWriter()
        var head = HTTP2HeadWriter()
        let count = try writer.write(request, to: &head).get()
        #expect(head.count == count)
        return head.texts.map(\.description)
    }

    private let trace = TraceContext(random: (0x0123_4567_89ab_cdef, 2, 3), isSampled: false)

    @Test func heads() throws {
        var request = HBONERequest(
            to: try #require(IPAddress("10.0.0.2")), port: 8080, from: try #require(IPAddress("10.0.0.1")),
            sourcePort: 40000, trace: trace)
        let traceparent = "traceparent: 00-0123456789abcdef0000000000000002-0000000000000003-00"
        #expect(
            try fields(request)
                == [":method: CONNECT", ":authority: 10.0.0.2:8080", #"forwarded: for="10.0.0.1:40000""#, traceparent])
        request.destination = try #require(IPAddress("fd00::2"))
        request.source = try #require(IPAddress("fd00:0:0:1::1"))
        let service = Array("web.shop.svc.cluster.local".utf8)
        let baggage = HBONEBaggage.text([(.namespace, "shop"), (.deployment, "web")])
        let written = try service.withUnsafeBytes { service in
            try baggage.withUnsafeBytes { baggage in
                request.service = service
                request.baggage = baggage
                return try fields(request)
            }
        }
        #expect(
            written == [
                ":method: CONNECT", ":authority: [fd00::2]:8080",
                #"forwarded: for="[fd00:0:0:1::1]:40000";host=web.shop.svc.cluster.local"#,
                "baggage: k8s.namespace.name=shop,k8s.deployment.name=web", traceparent,
            ])
    }

    @Test(arguments: ["a b", "a\r\nx: y", "a\"b", String(repeating: "a", count: 500)])
    func aServiceThatIsNoNameIsNotSent(_ service: String) throws {
        let bytes = Array(service.utf8)
        let request = HBONERequest(to: IPAddress(v4: 1), port: 1, from: IPAddress(v4: 2), sourcePort: 2, trace: trace)
        let refusal = bytes.withUnsafeBytes { service in
            var request = request
            request.service = service
            return Result { try fields(request) }
        }
        #expect(throws: WriteFailure.self) { try refusal.get() }
    }
}

@Suite struct HBONERefusalTests {
    private func read(_ text: String, to local: String) throws -> Result<HBONETarget, HBONERefusal> {
        let address = try #require(IPAddress(local))
        let message = Array("\(text) HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
        return try message.withUnsafeBytes { bytes in
            var fields = FieldTable(capacity: 4)
            var parser = HTTP1RequestParser()
            guard case .complete = parser.parse(bytes, into: &fields) else {
                throw MalformedMessage.incomplete
            }
            return HBONETarget.read(parser.head, in: bytes.baseAddress!, to: address)
        }
    }

    @Test func requests() throws {
        let pod = try #require(IPAddress("10.0.0.2"))
        #expect(try read("CONNECT 10.0.0.2:80", to: "10.0.0.2") == .success(.address(pod, port: 80)))
        #expect(try read("CONNECT web.shop:80", to: "10.0.0.2") == .success(.service(hostBytes: 8, port: 80)))
        #expect(try read("CONNECT 10.0.0.3:80", to: "10.0.0.2") == .failure(.otherAddress))
        for port in [15001, 15006, 15008] {
            #expect(try read("CONNECT 10.0.0.2:\(port)", to: "10.0.0.2") == .failure(.ownPort))
            #expect(!HBONETarget.mayReach(port: UInt16(port)))
        }
        #expect(try read("GET /", to: "10.0.0.2") == .failure(.notConnect))
        #expect(try read("CONNECT 10.0.0.999:80", to: "10.0.0.2") == .failure(.malformedTarget))
    }

    @Test func everyRefusalHasAnAnswer() {
        for refusal in HBONERefusal.allCases {
            #expect([400, 401, 503].contains(refusal.status))
            #expect(refusal.text.utf8CodeUnitCount > 10)
        }
    }
}
