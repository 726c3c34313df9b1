// SPDX-License-Identifier: Apache-2.0

/// The annotations that the mesh reads.
public enum MeshAnnotation: String, Sendable, CaseIterable {
    case mesh = "sockmesh.io/mesh"
    case netns = "sockmesh.io/netns"
    case pid = "sockmesh.io/pid"
    case accelerate = "sockmesh.io/accelerate"
    case skipInboundPorts = "sockmesh.io/skip-inbound-ports"
    case skipOutboundPorts = "sockmesh.io/skip-outbound-ports"
    case allowRawSockets = "sockmesh.io/allow-raw-sockets"
    case encrypt = "sockmesh.io/encrypt"
    case weight = "sockmesh.io/weight"
    case dryRun = "sockmesh.io/dry-run"
    case istioDryRun = "istio.io/dry-run"

    /// Of a Pod or Namespace.
    public static func membership(in annotations: [String: String]) throws(AnnotationError) -> MeshMembership? {
        try mesh.value(in: annotations, expected: "enabled or disabled") { MeshMembership(rawValue: $0) }
    }

    /// Of a Pod, or of an EndpointSlice for all its endpoints. 0 takes no new connections.
    public static func weight(in annotations: [String: String]) throws(AnnotationError) -> UInt32? {
        try weight.value(in: annotations, expected: "a number from 0 to \(maximumWeight)") {
            UInt32($0).flatMap { $0 <= maximumWeight ? $0 : nil }
        }
    }

    /// Of a policy: evaluate and report only. Either annotation suffices.
    public static func dryRun(in annotations: [String: String]) throws(AnnotationError) -> Bool {
        // Both are read, so that a bad value of either is reported.
        let ours = try dryRun.flag(in: annotations)
        let istios = try istioDryRun.flag(in: annotations)
        return ours || istios
    }

    /// Keeps products of weights and the number of endpoints within 64 bits.
    public static let maximumWeight: UInt32 = 65535

    func value<Value>(
        in annotations: [String: String], expected: String, _ parse: (String) -> Value?
    ) throws(AnnotationError) -> Value? {
        guard let text = annotations[rawValue] else { return nil }
        guard let value = parse(text) else {
            throw AnnotationError(annotation: rawValue, value: text, expected: expected)
        }
        return value
    }

    func flag(in annotations: [String: String]) throws(AnnotationError) -> Bool {
        try value(in: annotations, expected: "\"true\" or \"false\"") { Bool($0) } ?? false
    }

    /// A comma-separated list of ports, spaces allowed; ascending and without repetition.
    func ports(in annotations: [String: String]) throws(AnnotationError) -> [UInt16] {
        let ports = try value(in: annotations, expected: "ports from 1 to 65535, separated by commas") { text in
            var ports: Set<UInt16> = []
            for field in text.split(separator: ",", omittingEmptySubsequences: false) {
                let trimmed = field.filter { $0 != " " }
                guard let port = UInt16(trimmed), port > 0 else { return Set<UInt16>?.none }
                ports.insert(port)
            }
            return ports
        }
        return ports?.sorted() ?? []
    }
}

/// An annotation whose value the mesh cannot read.
public struct AnnotationError: Error, Hashable, Sendable, CustomStringConvertible {
    public let annotation: String
    public let value: String
    public let expected: String

    public init(annotation: String, value: String, expected: String) {
        self.annotation = annotation
        self.value = value
        self.expected = expected
    }

    public var description: String { "annotation \(annotation): \"\(value)\" is not valid (expected \(expected))" }
}
