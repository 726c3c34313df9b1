// SPDX-License-Identifier: Apache-2.0

import Glibc
import MeshModel

/// A kind of route, and requests for it.
struct Scenario: Sendable {
    let name: String
    let match: @Sendable (Int) -> HTTPRouteMatch
    let path: @Sendable (Int) -> String
    /// Whether the name of the route that was found can be right.
    var isRight: @Sendable (String) -> Bool = { _ in true }

    static let service = Service(
        metadata: ObjectMetadata(name: "web", namespace: "shop"), ports: [.init(name: "http", port: 80)])

    /// What a browser or a library sends.
    static let headers = [
        ("host", "web.shop"), ("user-agent", "curl/8.5.0"), ("accept", "*/*"), ("accept-encoding", "gzip, br"),
        ("x-request-id", "1b4e28ba-2fa1-11d2-883f-0016d3cca427"), ("X-Canary", "yes"), ("cookie", "a=b; c=d"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]

    static let all = [
        Scenario(
            name: "exact", match: { HTTPRouteMatch(path: .exact("/api/v1/item-\($0)")) },
            path: { "/api/v1/item-\($0)" }),
        Scenario(
            name: "prefix", match: { HTTPRouteMatch(path: .prefix("/api/v1/item-\($0)")) },
            path: { "/api/v1/item-\($0)/reviews/17" }),
        Scenario(
            name: "prefix+header",
            match: {
                HTTPRouteMatch(path: .prefix("/api/v1/item-\($0)"), headers: [FieldMatch("x-canary", "yes")])
            },
            path: { "/api/v1/item-\($0)/reviews/17" }),
        Scenario(
            name: "prefix+regex",
            match: {
                HTTPRouteMatch(
                    path: .prefix("/api/v1/item-\($0)"),
                    headers: [FieldMatch(name: "user-agent", value: .regularExpression("curl/[0-9.]+"))])
            },
            path: { "/api/v1/item-\($0)/reviews/17" }),
        // The longest prefixes fail, and the default is found.
        Scenario(
            name: "default",
            match: {
                $0 == 0 ? HTTPRouteMatch() : HTTPRouteMatch(path: .prefix("/api/v1/item-\($0)"), method: "PUT")
            },
            path: { "/api/v1/item-\($0)/reviews/17" }, isRight: { $0 == "r0" }),
    ]

    func route(_ index: Int) -> MeshRoute {
        .http(
            HTTPRoute(
                metadata: ObjectMetadata(
                    name: "r\(index)", namespace: "shop", creationTimestamp: "2025-01-01T00:00:00Z"),
                parentRefs: [.init(name: "web")], rules: [.init(matches: [match(index)])]))
    }
}

/// A request whose bytes stand still.
struct PreparedRequest {
    let request: RouteRequest
    let headers: HeaderFieldList
    private let storage: [UnsafeMutableRawBufferPointer]
    private let lines: UnsafeMutableBufferPointer<HeaderFieldList.Line>

    init(_ path: String, headers: [(String, String)]) {
        var storage: [UnsafeMutableRawBufferPointer] = []
        func bytes(_ text: String) -> UnsafeRawBufferPointer {
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: text.utf8.count, alignment: 1)
            memory.copyBytes(from: text.utf8)
            storage.append(memory)
            return UnsafeRawBufferPointer(memory)
        }
        request = RouteRequest(method: bytes("GET"), path: bytes(path))
        lines = .allocate(capacity: headers.count)
        for (index, header) in headers.enumerated() {
            lines.initializeElement(at: index, to: (bytes(header.0), bytes(header.1)))
        }
        self.headers = HeaderFieldList(UnsafeBufferPointer(lines))
        self.storage = storage
    }

    func deallocate() {
        for memory in storage { memory.deallocate() }
        lines.deallocate()
    }
}

extension Double {
    /// With one digit after the point.
    var text: String { "\((self * 10).rounded() / 10)" }
}

extension String {
    func padded(_ width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
    func leftPadded(_ width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}

func exitWithFailure() -> Never { exit(1) }
