// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct MeshAnnotationTests {
    @Test func allOfThem() throws {
        let settings = try PodMeshSettings(annotations: [
            "sockmesh.io/mesh": "enabled", "sockmesh.io/netns": "/run/netns/a", "sockmesh.io/pid": "12",
            "sockmesh.io/accelerate": "disabled", "sockmesh.io/skip-inbound-ports": "22, 9000,22",
            "sockmesh.io/skip-outbound-ports": "25", "sockmesh.io/allow-raw-sockets": "true", "sockmesh.io/weight": "0",
            "sockmesh.io/encrypt": "always", "other/annotation": "x",
        ])
        #expect(
            settings
                == PodMeshSettings(
                    membership: .enabled, netnsPath: "/run/netns/a", pid: 12, acceleration: .disabled,
                    skipInboundPorts: [22, 9000], skipOutboundPorts: [25], allowRawSockets: true, encrypts: true,
                    weight: 0))
        #expect(try PodMeshSettings(annotations: [:]) == PodMeshSettings())
    }

    @Test(arguments: [
        ("sockmesh.io/mesh", "yes"), ("sockmesh.io/mesh", ""), ("sockmesh.io/netns", "run/netns"),
        ("sockmesh.io/pid", "0"),
        ("sockmesh.io/pid", "x"), ("sockmesh.io/accelerate", "on"), ("sockmesh.io/skip-inbound-ports", "0"),
        ("sockmesh.io/skip-inbound-ports", "1,,2"), ("sockmesh.io/skip-inbound-ports", ""),
        ("sockmesh.io/skip-outbound-ports", "70000"), ("sockmesh.io/allow-raw-sockets", "yes"),
        ("sockmesh.io/weight", "-1"),
        ("sockmesh.io/weight", "65536"), ("sockmesh.io/encrypt", "never"), ("sockmesh.io/encrypt", "true"),
    ])
    func refuses(_ annotation: String, _ value: String) throws {
        let error = #expect(throws: AnnotationError.self) { try PodMeshSettings(annotations: [annotation: value]) }
        #expect(error?.annotation == annotation)
        #expect(error?.description.contains("\"\(value)\"") == true)
    }

    @Test func eitherDryRunSuffices() throws {
        #expect(try MeshAnnotation.dryRun(in: ["istio.io/dry-run": "true"]))
        #expect(try MeshAnnotation.dryRun(in: ["sockmesh.io/dry-run": "true", "istio.io/dry-run": "false"]))
        #expect(try !MeshAnnotation.dryRun(in: ["sockmesh.io/dry-run": "false"]))
        #expect(throws: AnnotationError.self) { try MeshAnnotation.dryRun(in: ["istio.io/dry-run": "1"]) }
    }

    @Test func membershipIsThePodsElseTheNamespaces() {
        var pod = PolicyFixture.web
        let namespace = Namespace(metadata: ObjectMetadata(name: "shop"), mesh: .enabled)
        #expect(pod.wantsMesh(in: namespace) && !pod.wantsMesh(in: nil))
        pod.mesh.membership = .disabled
        #expect(!pod.wantsMesh(in: namespace))
        pod.mesh.membership = .enabled
        #expect(pod.wantsMesh(in: nil))
        pod.hostNetwork = true
        #expect(!pod.wantsMesh(in: namespace))
        pod.hostNetwork = false
        pod.phase = .failed
        #expect(!pod.wantsMesh(in: namespace))
    }
}
