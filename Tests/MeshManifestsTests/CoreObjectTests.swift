// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

/// Pod, Service, EndpointSlice, Namespace and Node: objects of which a part is read.
@Suite struct CoreObjectTests {
    static let pod = """
        apiVersion: v1
        kind: Pod
        metadata:
          name: web-1
          namespace: shop
          deletionTimestamp: "2026-01-01T00:00:00Z"
          labels: {app: web}
          annotations:
            sockmesh.io/mesh: enabled
            sockmesh.io/netns: /run/netns/web
            sockmesh.io/accelerate: disabled
            sockmesh.io/skip-inbound-ports: "22, 23"
        spec:
          serviceAccountName: web
          nodeName: node-1
          hostNetwork: false
          futureField: {anything: [1]}
          initContainers:
          - {name: setup, ports: [{containerPort: 1}]}
          - {name: sidecar, restartPolicy: Always, ports: [{containerPort: 2}]}
          containers:
          - name: web
            image: nginx
            ports:
            - {name: http, containerPort: 8080}
            - {name: dns, containerPort: 53, protocol: UDP}
            readinessProbe: {httpGet: {port: http}}
            livenessProbe: {tcpSocket: {port: 9090}}
        status:
          phase: Running
          podIP: 10.0.0.1
          podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]
          conditions: [{type: Ready, status: "True"}]
        """

    static let service = """
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: shop}
        spec:
          type: LoadBalancer
          clusterIP: 10.96.0.1
          clusterIPs: [10.96.0.1, "fd00:96::1"]
          ports:
          - {name: http, port: 80, targetPort: http, nodePort: 30080, appProtocol: http}
          - {name: dns, port: 53, protocol: UDP}
          selector: {app: web}
          externalIPs: [192.0.2.1]
          sessionAffinity: ClientIP
          sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
          internalTrafficPolicy: Local
          trafficDistribution: PreferClose
          publishNotReadyAddresses: true
        status: {loadBalancer: {ingress: [{ip: 192.0.2.9}, {ip: 192.0.2.8, ipMode: Proxy}, {hostname: x}]}}
        """

    static let slice = """
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
        addressType: IPv6
        endpoints:
        - addresses: ["fd00::1"]
          conditions: {ready: false, serving: true, terminating: true}
          nodeName: node-1
          zone: z1
          hints: {forZones: [{name: z1}], forNodes: [{name: node-1}]}
          targetRef: {kind: Pod, name: web-1, namespace: shop}
        ports:
        - {name: http, port: 8080, protocol: TCP, appProtocol: http}
        """

    @Test func aPodIsRead() throws {
        guard case .pod(let pod) = try Decoding.object(Self.pod) else { return }
        #expect(pod.serviceAccountName == "web" && pod.nodeName == "node-1" && !pod.hostNetwork)
        #expect(pod.isTerminating && pod.phase == .running && pod.ready == true)
        #expect(pod.podIPs.map(\.description) == ["10.0.0.1", "fd00::1"])
        #expect(pod.containers.map(\.name) == ["web", "sidecar"])
        #expect(pod.ports(named: "dns", transport: .udp) == [53])
        #expect(pod.probePorts == [8080, 9090])
        #expect(pod.mesh.membership == .enabled && pod.mesh.netnsPath == "/run/netns/web")
        #expect(pod.mesh.acceleration == .disabled && pod.mesh.skipInboundPorts == [22, 23])
    }

    @Test func aServiceIsRead() throws {
        guard case .service(let service) = try Decoding.object(Self.service) else { return }
        #expect(service.kind == .loadBalancer && !service.isHeadless)
        #expect(service.clusterIPs.map(\.description) == ["10.96.0.1", "fd00:96::1"])
        #expect(
            service.ports == [
                .init(name: "http", port: 80, targetPort: .name("http"), nodePort: 30080, appProtocol: "http"),
                .init(name: "dns", port: 53, transport: .udp),
            ])
        #expect(service.selector == ["app": "web"] && service.affinitySeconds == 60)
        #expect(service.externalIPs.map(\.description) == ["192.0.2.1"])
        #expect(service.loadBalancerIPs.map(\.description) == ["192.0.2.9"])
        #expect(service.internalTrafficPolicy == .local && service.trafficDistribution == .preferClose)
        #expect(service.publishNotReadyAddresses)
    }

    @Test func anEndpointSliceIsRead() throws {
        guard case .endpointSlice(let slice) = try Decoding.object(Self.slice) else { return }
        #expect(slice.service == NamespacedName(namespace: "shop", name: "web"))
        let endpoint = try #require(slice.endpoints.first)
        #expect(endpoint.addresses.map(\.description) == ["fd00::1"])
        #expect(endpoint.ready == false && endpoint.serving == true && endpoint.terminating == true)
        #expect(endpoint.hintedZones == ["z1"] && endpoint.hintedNodes == ["node-1"])
        #expect(endpoint.targetPod == NamespacedName(namespace: "shop", name: "web-1"))
        #expect(slice.ports == [.init(name: "http", port: 8080, appProtocol: "http")])
    }

    @Test func namespacesAndNodesAreRead() throws {
        let namespace =
            "{apiVersion: v1, kind: Namespace, metadata: {name: a, "
            + "annotations: {sockmesh.io/mesh: disabled}}, spec: {finalizers: [kubernetes]}}"
        guard case .namespace(let value) = try Decoding.object(namespace) else { return }
        #expect(value.mesh == .disabled)
        let node =
            "{apiVersion: v1, kind: Node, metadata: {name: a}, status: {addresses: ["
            + "{type: InternalIP, address: 10.0.0.1}, {type: Hostname, address: a}]}}"
        guard case .node(let value) = try Decoding.object(node) else { return }
        #expect(value.addresses.map(\.description) == ["10.0.0.1"])
    }

    static func pod(_ annotations: String, _ rest: String = "") -> String {
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {\(annotations)}}\n\(rest)"
    }

    static func service(_ spec: String) -> String {
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {\(spec)}\n"
    }

    static let bad: [BadManifest] = [
        .init(
            "annotations", pod("sockmesh.io/mesh: on, sockmesh.io/netns: web, sockmesh.io/skip-inbound-ports: \"0\""),
            "f.yaml:3:53: Pod default/a: metadata.annotations[\"sockmesh.io/mesh\"]: must be a string, "
                + "but is the boolean on (put it in quotes: \"on\")",
            "f.yaml:3:57: Pod default/a: metadata.annotations[\"sockmesh.io/netns\"]: \"web\" is not valid; "
                + "expected an absolute path",
            "f.yaml:3:81: Pod default/a: metadata.annotations[\"sockmesh.io/skip-inbound-ports\"]: \"0\" is not valid; "
                + "expected ports from 1 to 65535, separated by commas"),
        .init(
            "values of annotations",
            pod("sockmesh.io/mesh: \"on\", sockmesh.io/netns: web, sockmesh.io/skip-inbound-ports: \"0\""),
            "f.yaml:3:35: Pod default/a: metadata.annotations[\"sockmesh.io/mesh\"]: \"on\" is not valid; "
                + "expected enabled or disabled",
            "f.yaml:3:59: Pod default/a: metadata.annotations[\"sockmesh.io/netns\"]: \"web\" is not valid; "
                + "expected an absolute path",
            "f.yaml:3:83: Pod default/a: metadata.annotations[\"sockmesh.io/skip-inbound-ports\"]: \"0\" is not valid; "
                + "expected ports from 1 to 65535, separated by commas"),
        .init(
            "misspelt annotation", pod("sockmesh.io/mseh: enabled"),
            "f.yaml:3:35: warning: Pod default/a: metadata.annotations[\"sockmesh.io/mseh\"]: unknown annotation, it "
                + "has no effect (did you mean \"sockmesh.io/mesh\"?)"),
        .init(
            "addresses", pod("", "status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.2}, {ip: 10.0.0.0/24}, {}]}\n"),
            "f.yaml:4:17: Pod default/a: status.podIP: is 10.0.0.1, but the first of podIPs is 10.0.0.2 "
                + "(write the same address)",
            "f.yaml:4:57: Pod default/a: status.podIPs[1].ip: \"10.0.0.0/24\" is a prefix, not an address "
                + "(write 10.0.0.0)",
            "f.yaml:4:71: Pod default/a: status.podIPs[2].ip: is required"),
        .init(
            "types of a pod",
            pod("", "spec: {hostNetwork: \"true\", containers: [{ports: [{containerPort: \"80\"}]}]}\n"),
            "f.yaml:4:21: Pod default/a: spec.hostNetwork: must be a boolean, but is the string \"true\" "
                + "(write true or false, without quotes)",
            "f.yaml:4:42: Pod default/a: spec.containers[0].name: is required",
            "f.yaml:4:67: Pod default/a: spec.containers[0].ports[0].containerPort: must be an integer, "
                + "but is the string \"80\" (remove the quotes)"),
        .init(
            "service without ports", service("clusterIP: 10.0.0.1"),
            "f.yaml:4:7: Service default/a: spec.ports: must have at least one port"),
        .init(
            "service without an address", service("ports: [{port: 80}]"),
            "f.yaml:4:7: warning: Service default/a: spec.clusterIP: the service has no cluster address "
                + "(write one, or clusterIP: None for a headless service)"),
        .init(
            "ports of a service",
            service("clusterIP: 10.0.0.1, ports: [{port: 80}, {port: 80, name: a}, {port: 81, name: a}]"),
            "f.yaml:4:37: Service default/a: spec.ports[0]: needs a name, because the service has several ports",
            "f.yaml:4:49: Service default/a: spec.ports[1]: port 80 of TCP is given twice",
            "f.yaml:4:70: Service default/a: spec.ports[2]: the name \"a\" is given to two ports"),
        .init(
            "addresses of a service", service("clusterIP: None, clusterIPs: [10.0.0.1, x], ports: [{port: 80}]"),
            "f.yaml:4:19: Service default/a: spec.clusterIP: is the string \"None\", but the first of clusterIPs is the "
                + "string \"10.0.0.1\" (write the same address in both, or only one of the fields)",
            "f.yaml:4:48: Service default/a: spec.clusterIPs[1]: \"x\" is not an IPv4 or IPv6 address"),
        .init(
            "values of a service",
            service("clusterIP: None, type: clusterip, sessionAffinity: Client, trafficDistribution: Near"),
            "f.yaml:4:31: Service default/a: spec.type: \"clusterip\" is not a known value "
                + "(did you mean \"ClusterIP\"?)",
            "f.yaml:4:59: Service default/a: spec.sessionAffinity: \"Client\" is not a known value "
                + "(did you mean \"ClientIP\"?)",
            "f.yaml:4:88: Service default/a: spec.trafficDistribution: \"Near\" is not a known value "
                + "(known here: PreferClose, PreferSameZone, PreferSameNode)"),
        .init(
            "slice",
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\n"
                + "endpoints: [{addresses: [\"fd00::1\"]}, {addresses: []}, {}]\nports: [{port: 1}, {port: 2}]\n",
            "f.yaml:5:26: EndpointSlice default/a: endpoints[0].addresses[0]: fd00::1 is not an IPv4 address, as "
                + "addressType says",
            "f.yaml:5:51: EndpointSlice default/a: endpoints[1].addresses: must have at least one address",
            "f.yaml:5:56: EndpointSlice default/a: endpoints[2].addresses: is required",
            "f.yaml:6:8: EndpointSlice default/a: ports: the port name \"\" is given twice, again in element 1"),
        .init(
            "node", "apiVersion: v1\nkind: Node\nmetadata: {name: a}\nstatus: {addresses: [{type: InternalIP}, {}]}\n",
            "f.yaml:4:22: Node a: status.addresses[0].address: is required",
            "f.yaml:4:42: Node a: status.addresses[1].type: is required"),
    ]

    @Test(arguments: bad)
    func refuses(_ manifest: BadManifest) {
        #expect(Decoding.messages(manifest.text) == manifest.messages)
    }

    @Test func whatTheAPIServerLeavesOutIsNotAnError() throws {
        let service = Self.service(
            "clusterIP: None, clusterIPs: [None], ports: [{port: 80, targetPort: 0, nodePort: 0, name: \"\"}], "
                + "selector: null, type: null")
        guard case .service(let value) = try Decoding.object(service) else { return }
        #expect(value.isHeadless && value.ports == [.init(port: 80)])
    }
}
