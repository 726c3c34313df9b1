// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel
import Testing

@testable import MeshAgent

/// Images that follow a compiler change by change must be those that begin anew.
@Suite struct ImageBuilderTests {
    @Test(arguments: 0..<20)
    func followingIsAsGoodAsBeginningAnew(seed: UInt64) throws {
        var cluster = RandomCluster(seed: seed)
        var tables = KernelTables()
        var builder = ImageBuilder(adopting: tables)
        var compiler = MeshCompiler(configuration: .init(nodeName: "n1", nodeAddresses: [IPAddress(v4: 0x0a00_00fe)]))
        var pods: [NamespacedName: EnrolledPod] = [:]
        var stale = try builder.build(compiler.mesh, pods: pods)
        for _ in 0..<12 {
            let (change, enrolled) = cluster.change()
            let changes = compiler.update(change)
            let differing = Set(pods.keys).union(enrolled.keys).filter { pods[$0] != enrolled[$0] }
            pods = enrolled
            stale.formUnion(try builder.update(to: compiler.mesh, changes, pods: pods, changedPods: differing))

            let plan = MapPlan(from: tables, to: builder.image, at: stale)
            for operation in plan.operations { tables.apply(operation) }
            builder.release(plan.garbage)
            let rest = MapPlan(from: tables, to: builder.image)
            #expect(rest.isEmpty, "the keys that a change names are all that differ")

            var fresh = ImageBuilder(adopting: tables)
            _ = try fresh.build(compiler.mesh, pods: pods)
            let isSame = fresh.image == builder.image
            #expect(isSame)
        }
    }

    @Test func theKernelSaysWhatTheEvaluatorSays() throws {
        for seed in 100..<106 as Range<UInt64> {
            var cluster = RandomCluster(seed: seed)
            var compiler = MeshCompiler(configuration: .init(nodeName: "n1"))
            var pods: [NamespacedName: EnrolledPod] = [:]
            for _ in 0..<8 {
                let (change, enrolled) = cluster.change()
                _ = compiler.update(change)
                pods = enrolled
            }
            var tables = KernelTables()
            var builder = ImageBuilder(adopting: tables)
            _ = try builder.build(compiler.mesh, pods: pods)
            for operation in MapPlan(from: tables, to: builder.image).operations { tables.apply(operation) }
            let prefixes = PrefixIndex(tables.cidrs.lazy.map { ($0.key, $0.value) })
            for source in pods.keys.sorted() {
                for destination in pods.keys.sorted() where destination != source {
                    for port in [80, 8080, 9000] as [UInt16] {
                        let answer = try compiler.explain(
                            PolicyQuestion(source: .pod(source), destination: .pod(destination), port: port))
                        let reason = tables.reason(
                            KernelTables.FlowQuestion(
                                sourceNetns: pods[source]?.netns, source: IPAddress(v4: 0),
                                destinationNetns: pods[destination]?.netns, destination: IPAddress(v4: 0), port: port,
                                transport: .tcp), prefixes)
                        #expect(
                            (reason == MESH_REASON_NONE) == (answer.verdict == .allow),
                            "\(source) -> \(destination):\(port)")
                    }
                }
            }
        }
    }
}

/// Pods, policies and services that come, change and go.
private struct RandomCluster {
    private var random: SplitMix64
    private var objects: [ObjectReference: MeshObject] = [:]
    private var enrolled: [NamespacedName: EnrolledPod] = [:]

    init(seed: UInt64) { random = SplitMix64(state: seed &* 7919 &+ 13) }

    /// One step.
    mutating func change() -> (MeshChange, [NamespacedName: EnrolledPod]) {
        var change = MeshChange()
        for _ in 0...pick(3) {
            let object = anyObject()
            if pick(4) == 0 {
                if objects.removeValue(forKey: object.reference) != nil { change.removed.append(object.reference) }
            } else {
                objects[object.reference] = object
                change.changed.removeAll { $0.reference == object.reference }
                change.removed.removeAll { $0 == object.reference }
                change.changed.append(object)
            }
        }
        change.changed.removeAll { objects[$0.reference] == nil }
        var next: [NamespacedName: EnrolledPod] = [:]
        for case .pod(let pod) in objects.values {
            let name = pod.namespacedName
            // A pod that comes back has another namespace.
            if pick(6) > 0 {
                next[name] = enrolled[name] ?? EnrolledPod(netns: random.next() | 1, isOnVeth: pick(3) > 0)
            }
        }
        enrolled = next
        change.enrolled = Set(next.keys)
        return (change, next)
    }

    private mutating func anyObject() -> MeshObject {
        switch pick(4) {
        case 0, 1: .pod(anyPod())
        case 2: .networkPolicy(anyPolicy())
        default: .service(anyService())
        }
    }

    private mutating func anyPod() -> Pod {
        let number = pick(6)
        return Pod(
            metadata: ObjectMetadata(name: "p\(number)", namespace: "shop", labels: ["app": "a\(pick(3))"]),
            nodeName: "n1", podIPs: [IPAddress(v4: 0x0a00_0001 + UInt32(number))],
            containers: [
                .init(
                    name: "c", ports: [.init(name: "http", port: pick(2) == 0 ? 80 : 8080)],
                    probes: pick(3) == 0 ? [.name("http"), .number(9000)] : [])
            ],
            mesh: PodMeshSettings(
                membership: .enabled, acceleration: pick(2) == 0 ? .enabled : .auto,
                skipInboundPorts: pick(5) == 0 ? [22] : []))
    }

    private mutating func anyPolicy() -> NetworkPolicy {
        let peers: [NetworkPolicy.Peer] = [
            .pods(pods: LabelSelector(matchLabels: ["app": "a\(pick(3))"]), namespaces: nil),
            .ipBlock(cidr: CIDR(IPAddress(v4: 0x0a00_0000), bits: UInt8(96 + 24 + pick(8))), except: []),
        ]
        return NetworkPolicy(
            metadata: ObjectMetadata(name: "np\(pick(4))", namespace: "shop"),
            podSelector: LabelSelector(matchLabels: pick(3) == 0 ? [:] : ["app": "a\(pick(3))"]),
            policyTypes: pick(2) == 0 ? [.ingress] : [.ingress, .egress],
            ingress: pick(4) == 0
                ? [] : [.init(peers: [peers[pick(2)]], ports: pick(2) == 0 ? [] : [.init(port: .name("http"))])],
            egress: [.init(peers: [peers[pick(2)]], ports: [.init(port: .number(80), endPort: 8999)])])
    }

    private mutating func anyService() -> Service {
        let number = pick(3)
        return Service(
            metadata: ObjectMetadata(name: "s\(number)", namespace: "shop"),
            clusterIPs: [IPAddress(v4: 0x0a60_0001 + UInt32(number))],
            ports: [.init(port: 80, targetPort: .name("http"))], selector: ["app": "a\(pick(3))"],
            affinitySeconds: pick(2) == 0 ? 60 : nil)
    }

    private mutating func pick(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
}
