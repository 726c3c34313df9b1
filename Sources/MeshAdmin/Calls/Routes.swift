// SPDX-License-Identifier: Apache-2.0

/// Asks for the routes that the node proxy enforces; one item per route.
///
/// Refused with `conflict` where no proxy runs.
public struct RoutesRequest: AdminCall {
    public typealias Item = RouteReport
    public static let method = "routes"
    public static let access = AdminAccess.read

    /// Only routes of this namespace.
    public var namespace: String?

    public init(namespace: String? = nil) {
        self.namespace = namespace
    }
}

/// A route and what each of its parents says to it.
public struct RouteReport: Codable, Equatable, Sendable {
    /// `HTTPRoute` or `GRPCRoute`.
    public var kind: String
    public var namespace: String
    public var name: String
    /// Services only, in the order of the route: to others the mesh has nothing to say.
    public var parents: [RouteParentReport]

    public init(kind: String, namespace: String, name: String, parents: [RouteParentReport]) {
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.parents = parents
    }
}

/// A Service that a route names as its parent.
public struct RouteParentReport: Codable, Equatable, Sendable {
    public var namespace: String
    public var name: String
    /// As the route has them; absent: every port.
    public var port: UInt16?
    public var sectionName: String?
    public var conditions: [RouteConditionReport]

    public init(
        namespace: String, name: String, port: UInt16? = nil, sectionName: String? = nil,
        conditions: [RouteConditionReport]
    ) {
        self.namespace = namespace
        self.name = name
        self.port = port
        self.sectionName = sectionName
        self.conditions = conditions
    }
}

/// As in the status of a route of the Gateway API.
public struct RouteConditionReport: Codable, Equatable, Sendable {
    /// `Accepted`, `ResolvedRefs`, `PartiallyInvalid` or `PassedBy`.
    public var type: String
    /// `True` or `False`.
    public var status: String
    public var reason: String
    public var message: String

    public init(type: String, status: String, reason: String, message: String) {
        self.type = type
        self.status = status
        self.reason = reason
        self.message = message
    }
}
