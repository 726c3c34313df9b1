// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct CORSTests {
    @Test(arguments: [
        ("*", "https://any.example", true),
        ("https://a.com", "https://a.com", true), ("https://a.com", "HTTPS://A.com", true),
        ("https://a.com", "https://a.com:443", true), ("http://a.com:80", "http://a.com", true),
        ("https://a.com", "http://a.com", false), ("https://a.com", "https://a.com:8443", false),
        ("https://a.com", "https://b.a.com", false), ("https://a.com", "https://a.com.evil.com", false),
        // "A greedy match to the left, including any number of DNS labels".
        ("https://*.a.com", "https://x.a.com", true), ("https://*.a.com", "https://x.y.a.com", true),
        ("https://*.a.com", "https://a.com", false), ("https://*.a.com", "https://evila.com", false),
        ("https://*.a.com", "https://x.a.com:444", false), ("https://*.a.com:444", "https://x.a.com:444", true),
        ("https://*", "https://x", true), ("https://*", "http://x", false),
        ("https://a.com", "null", false), ("https://a.com", "https://a.com/", false), ("https://a.com", "", false),
        ("http://[::1]:8080", "http://[::1]:8080", true),
    ])
    func origins(_ allowed: String, _ origin: String, _ isAllowed: Bool) {
        #expect(CORSPolicy(allowOrigins: [allowed]).allows(origin) == isAllowed)
    }

    private func lines(_ policy: CORSPolicy, _ request: CORSPolicy.Request) -> [String]? {
        switch policy.answer(request) {
        case .notCORS: nil
        case .preflight(let fields): ["preflight"] + fields.map(\.description)
        case .actual(let fields): ["actual"] + fields.map(\.description)
        }
    }

    @Test func preflights() {
        let preflight = CORSPolicy.Request(
            method: "OPTIONS", origin: "https://a.com", requestMethod: "PUT", requestHeaders: "x-a, x-b")
        let plain = CORSPolicy(
            allowOrigins: ["https://a.com"], allowMethods: ["GET", "PUT"], allowHeaders: ["x-a"], exposeHeaders: ["e"],
            maxAge: 60)
        #expect(
            lines(plain, preflight) == [
                "preflight", "Access-Control-Allow-Origin: https://a.com", "Vary: Origin",
                "Access-Control-Allow-Methods: GET, PUT", "Access-Control-Allow-Headers: x-a",
                "Access-Control-Max-Age: 60",
            ])
        let open = CORSPolicy(allowOrigins: ["*"], allowMethods: ["*"], allowHeaders: ["*"])
        #expect(
            lines(open, preflight) == [
                "preflight", "Access-Control-Allow-Origin: https://a.com", "Vary: Origin",
                "Access-Control-Allow-Methods: *", "Access-Control-Allow-Headers: *", "Access-Control-Max-Age: 5",
            ])
        // With credentials never a *.
        var credentials = open
        credentials.allowCredentials = true
        #expect(
            lines(credentials, preflight) == [
                "preflight", "Access-Control-Allow-Origin: https://a.com", "Vary: Origin",
                "Access-Control-Allow-Credentials: true", "Access-Control-Allow-Methods: PUT",
                "Access-Control-Allow-Headers: x-a, x-b", "Access-Control-Max-Age: 5",
            ])
        // "If the Access-Control-Request-Headers header is not present, the gateway must omit".
        var bare = preflight
        bare.requestHeaders = nil
        #expect(lines(credentials, bare)?.contains { $0.contains("Allow-Headers") } == false)
    }

    @Test func otherRequests() {
        let policy = CORSPolicy(allowOrigins: ["https://a.com"], exposeHeaders: ["e", "*"])
        #expect(lines(policy, .init(method: "GET", origin: nil)) == nil)
        #expect(lines(policy, .init(method: "OPTIONS", origin: nil, requestMethod: "PUT")) == nil)
        #expect(
            lines(policy, .init(method: "GET", origin: "https://a.com")) == [
                "actual", "Access-Control-Allow-Origin: https://a.com", "Vary: Origin",
                "Access-Control-Expose-Headers: e, *",
            ])
        // OPTIONS alone is no preflight.
        #expect(lines(policy, .init(method: "OPTIONS", origin: "https://a.com"))?.first == "actual")
        // Refused: no line that would allow.
        #expect(lines(policy, .init(method: "GET", origin: "https://b.com")) == ["actual", "Vary: Origin"])
        #expect(
            lines(policy, .init(method: "OPTIONS", origin: "https://b.com", requestMethod: "PUT"))
                == ["preflight", "Vary: Origin"])
        var credentials = policy
        credentials.allowCredentials = true
        #expect(
            lines(credentials, .init(method: "GET", origin: "https://a.com"))?.last
                == "Access-Control-Expose-Headers: e")
    }
}
