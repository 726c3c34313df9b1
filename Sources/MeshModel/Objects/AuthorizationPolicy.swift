// SPDX-License-Identifier: Apache-2.0

/// An AuthorizationPolicy of security.istio.io/v1 or sockmesh.io/v1alpha1.
///
/// Fields of HTTP are kept as they were written, so that their presence is known; without a proxy an ALLOW
/// rule that has any is left out, and a DENY rule holds without them.
/// https://istio.io/latest/docs/reference/config/security/authorization-policy/
public struct AuthorizationPolicy: Hashable, Sendable {
    /// CUSTOM is no case: a policy that the mesh cannot enforce at all must be refused when it is read.
    public enum Action: String, Hashable, Sendable {
        case allow = "ALLOW"
        case deny = "DENY"
        case audit = "AUDIT"
    }

    /// One of these: any `from` AND any `to` AND all of `when`.
    public struct Rule: Hashable, Sendable {
        /// Empty: every source.
        public var from: [Source]
        /// Empty: every operation.
        public var to: [Operation]
        public var when: [Condition]

        public init(from: [Source] = [], to: [Operation] = [], when: [Condition] = []) {
            self.from = from
            self.to = to
            self.when = when
        }
    }

    /// All non-empty fields must hold; a source without any field matches nothing.
    public struct Source: Hashable, Sendable {
        public var principals: [String] = []
        public var notPrincipals: [String] = []
        public var namespaces: [String] = []
        public var notNamespaces: [String] = []
        /// `namespace/name`, or a name in the policy's namespace.
        public var serviceAccounts: [String] = []
        public var notServiceAccounts: [String] = []
        public var ipBlocks: [CIDR] = []
        public var notIpBlocks: [CIDR] = []
        public var trustDomains: [String] = []
        public var notTrustDomains: [String] = []
        // What only a proxy can know:
        public var requestPrincipals: [String] = []
        public var notRequestPrincipals: [String] = []
        public var remoteIpBlocks: [String] = []
        public var notRemoteIpBlocks: [String] = []

        public init() {}

        public var hasL7Fields: Bool {
            !requestPrincipals.isEmpty || !notRequestPrincipals.isEmpty || !remoteIpBlocks.isEmpty
                || !notRemoteIpBlocks.isEmpty
        }

        /// Names tokens, which the mesh does not read.
        public var isUnevaluable: Bool { !requestPrincipals.isEmpty || !notRequestPrincipals.isEmpty }

        public var isEmpty: Bool { self == Source() }
    }

    /// All non-empty fields must hold; an operation without any field matches nothing.
    public struct Operation: Hashable, Sendable {
        public var ports: [UInt16] = []
        public var notPorts: [UInt16] = []
        // What only a proxy can know:
        public var hosts: [String] = []
        public var notHosts: [String] = []
        public var methods: [String] = []
        public var notMethods: [String] = []
        public var paths: [String] = []
        public var notPaths: [String] = []

        public init() {}

        public var hasL7Fields: Bool {
            !hosts.isEmpty || !notHosts.isEmpty || !methods.isEmpty || !notMethods.isEmpty || !paths.isEmpty
                || !notPaths.isEmpty
        }

        public var isEmpty: Bool { self == Operation() }
    }

    public struct Condition: Hashable, Sendable {
        public var key: String
        public var values: [String]
        public var notValues: [String]

        public init(key: String, values: [String] = [], notValues: [String] = []) {
            self.key = key
            self.values = values
            self.notValues = notValues
        }

        /// Attributes that a connection has without a proxy.
        public static let l4Keys: Set<String> = [
            "source.ip", "source.namespace", "source.serviceAccount", "source.principal", "source.trustDomain",
            "destination.ip", "destination.port",
        ]

        public var isL7: Bool { !Self.l4Keys.contains(key) }

        /// Nobody in the mesh can tell: tokens, the server name of TLS, filters of Envoy, and pseudo-header fields that
        /// have no counterpart here.
        public var isUnevaluable: Bool { isL7 && key != "remote.ip" && headerName == nil }

        /// The header field that is asked for, in lower case; `nil` for other keys.
        public var headerName: String? {
            guard key.hasPrefix("request.headers["), key.hasSuffix("]") else { return nil }
            let name = key.dropFirst("request.headers[".count).dropLast().lowercased()
            if name.isEmpty { return nil }
            return name.hasPrefix(":") && name != ":authority" && name != ":method" ? nil : name
        }
    }

    public var metadata: ObjectMetadata
    /// The group and version it was written in.
    public var apiVersion: String
    /// `nil`: every workload of the namespace, or of the mesh if this is the root namespace.
    public var selector: LabelSelector?
    /// `targetRefs`, as `Kind/name`: such a policy is for a proxy.
    public var targetRefs: [String]
    /// The Services among the targets.
    public var targetedServices: [NamespacedName] {
        targetRefs.filter { $0.hasPrefix("Service/") }
            .map { NamespacedName(namespace: metadata.namespace, name: String($0.dropFirst("Service/".count))) }
    }

    public var action: Action
    /// Empty: matches nothing.
    public var rules: [Rule]
    /// Evaluated and reported, not enforced.
    public var isDryRun: Bool

    public init(
        metadata: ObjectMetadata, apiVersion: String = "security.istio.io/v1", selector: LabelSelector? = nil,
        targetRefs: [String] = [], action: Action = .allow, rules: [Rule] = [], isDryRun: Bool = false
    ) {
        self.metadata = metadata
        self.apiVersion = apiVersion
        self.selector = selector
        self.targetRefs = targetRefs
        self.action = action
        self.rules = rules
        self.isDryRun = isDryRun
    }
}
