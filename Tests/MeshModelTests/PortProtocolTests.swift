// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

/// What a port speaks, by what is written about it.
@Suite struct PortProtocolTests {
    private typealias Detection = MeshPolicySettings.Detection

    @Test(
        arguments: [
            (nil, .unknown), ("http", .http1), ("kubernetes.io/ws", .http1), ("grpc-web", .http1),
            ("kubernetes.io/h2c", .http2), ("http2", .http2), ("grpc", .http2), ("tcp", .tcp), ("mongo", .tcp),
            ("mysql", .tcp), ("redis", .tcp), ("tls", .tls), ("https", .tls), ("kubernetes.io/wss", .tls),
            ("example.org/own", .unknown), ("smtp", .unknown), ("HTTP", .unknown), ("", .unknown),
        ] as [(String?, PortProtocol)])
    func aServiceSays(_ name: String?, _ expected: PortProtocol) {
        #expect(PortProtocol(appProtocol: name) == expected)
        #expect(PortProtocol.ofEndpoints(appProtocol: name) == expected)
    }

    @Test func aPolicyGoesFirst() {
        let all: [(MeshPolicySettings.Detection, PortProtocol)] = [
            (.auto, .unknown), (.http1, .http1), (.http2, .http2), (.grpc, .http2), (.tcp, .tcp), (.tls, .tls),
        ]
        #expect(all.map(\.0) == MeshPolicySettings.Detection.allCases)
        for (detection, expected) in all {
            for name in [nil, "http", "grpc", "tcp", "example.org/own"] {
                #expect(PortProtocol(appProtocol: name, detection) == expected)
            }
        }
        // That clients' bytes are looked at says nothing about what endpoints speak.
        #expect(PortProtocol.ofEndpoints(appProtocol: "grpc", .auto) == .http2)
        #expect(PortProtocol.ofEndpoints(appProtocol: "grpc", .http1) == .http1)
    }

    @Test func onlyWhatIsNotHTTPIsOpaque() {
        #expect(PortProtocol.allCases.filter(\.isOpaque) == [.tcp, .tls])
    }
}
