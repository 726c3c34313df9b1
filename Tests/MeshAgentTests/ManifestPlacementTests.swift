// SPDX-License-Identifier: Apache-2.0

import Foundation
import Identity
import LinuxIO
import Logging
import Testing

@testable import MeshAgent

@Suite struct ManifestPlacementTests {
    /// A directory for one test.
    private final class Directory {
        let path = NSTemporaryDirectory() + "mesh-placement-\(UUID().uuidString)"

        init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        deinit { try? FileManager.default.removeItem(atPath: path) }

        func write(_ text: String) throws {
            try text.write(toFile: path + "/objects.yaml", atomically: true, encoding: .utf8)
        }
    }

    private let directory: Directory
    private let loop: EventLoop
    private let domain: TrustDomain

    init() throws {
        directory = try Directory()
        loop = try EventLoop()
        domain = try TrustDomain("mesh.test")
    }

    private static func pod(
        _ name: String, account: String, node: String?, mesh: String? = "enabled", more: String = ""
    ) -> String {
        """
        ---
        apiVersion: v1
        kind: Pod
        metadata:
          name: \(name)
          namespace: shop
          annotations: {\(mesh.map { "sockmesh.io/mesh: \($0)" } ?? "")}
        spec:
          \(node.map { "nodeName: \($0)" } ?? "")
          serviceAccountName: \(account)
          \(more)

        """
    }

    private func placement() -> ManifestPlacement {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return ManifestPlacement(directory.path, on: loop, logger: logger)
    }

    private func isAllowed(_ placement: ManifestPlacement, _ account: String, _ node: String) throws -> Bool {
        placement.refusal(of: try SPIFFEID(domain, namespace: "shop", serviceAccount: account), for: node) == nil
    }

    @Test func aPodIsWhereItsObjectSays() throws {
        try directory.write(
            Self.pod("web-1", account: "web", node: "n1") + Self.pod("web-2", account: "web", node: "n2")
                + Self.pod("db", account: "db", node: "n2") + Self.pod("free", account: "free", node: nil)
                + Self.pod("out", account: "out", node: "n1", mesh: "disabled")
                + Self.pod("silent", account: "silent", node: "n1", mesh: nil)
                + Self.pod("host", account: "host", node: "n1", more: "hostNetwork: true"))
        let placement = placement()
        for (account, nodes) in [
            ("web", ["n1", "n2"]), ("db", ["n2"]), ("free", []), ("out", []), ("silent", []), ("host", []),
            ("none", []),
        ] {
            for node in ["n1", "n2", "", "n3"] {
                #expect(try isAllowed(placement, account, node) == nodes.contains(node), "\(account) on \(node)")
            }
        }
        let other = try SPIFFEID(domain, namespace: "other", serviceAccount: "web")
        let reason = placement.refusal(of: other, for: "n1")
        #expect(reason?.contains("service account web of namespace other is on node n1 (spec.nodeName)") == true)
        #expect(placement.refusal(of: try SPIFFEID("spiffe://mesh.test/sockmesh/ca"), for: "n1") != nil)
    }

    @Test func aNamespaceAsksForItsPods() throws {
        let namespace = """
            apiVersion: v1
            kind: Namespace
            metadata: {name: shop, annotations: {sockmesh.io/mesh: enabled}}

            """
        try directory.write(
            namespace + Self.pod("web", account: "web", node: "n1", mesh: nil)
                + Self.pod("out", account: "out", node: "n1", mesh: "disabled"))
        let placement = placement()
        #expect(try isAllowed(placement, "web", "n1"))
        #expect(try !isAllowed(placement, "out", "n1"))
    }

    @Test func changesAreReadAndDamageChangesNothing() throws {
        try directory.write(Self.pod("web", account: "web", node: "n1"))
        let placement = placement()
        func waits(_ condition: () throws -> Bool) throws -> Bool {
            for _ in 0..<2000 {
                if try condition() { return true }
                try loop.turn(waitingAtMost: .milliseconds(5))
            }
            return false
        }
        #expect(try isAllowed(placement, "web", "n1"))
        try directory.write(Self.pod("web", account: "web", node: "n2"))
        #expect(try waits { try isAllowed(placement, "web", "n2") })
        #expect(try !isAllowed(placement, "web", "n1"))
        try directory.write("kind: [")
        try Self.pod("db", account: "db", node: "n2").write(
            toFile: directory.path + "/more.yaml", atomically: true, encoding: .utf8)
        #expect(try waits { try isAllowed(placement, "db", "n2") })
        #expect(try isAllowed(placement, "web", "n2"))
    }
}
