// SPDX-License-Identifier: Apache-2.0

public import MeshModel

extension AuthorizationPolicy: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(metadata, apiVersion, selector, targetRefs, action, rules, isDryRun)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            metadata: try reader.read(), apiVersion: try reader.read(), selector: try reader.read(),
            targetRefs: try reader.read(), action: try reader.read(), rules: try reader.read(),
            isDryRun: try reader.read())
    }
}

extension AuthorizationPolicy.Action: WireValue {
    public func encode(to writer: inout ByteWriter) {
        let number: UInt8 =
            switch self {
            case .allow: 0
            case .deny: 1
            case .audit: 2
            }
        writer.write(number)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.tag(below: 3, of: "AuthorizationPolicy.Action") {
        case 0: self = .allow
        case 1: self = .deny
        default: self = .audit
        }
    }
}

extension AuthorizationPolicy.Rule: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(from, to, when) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(from: try reader.read(), to: try reader.read(), when: try reader.read())
    }
}

extension AuthorizationPolicy.Source: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(principals, notPrincipals, namespaces, notNamespaces)
        writer.write(serviceAccounts, notServiceAccounts, ipBlocks, notIpBlocks)
        writer.write(trustDomains, notTrustDomains, requestPrincipals, notRequestPrincipals)
        writer.write(remoteIpBlocks, notRemoteIpBlocks)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init()
        principals = try reader.read()
        notPrincipals = try reader.read()
        namespaces = try reader.read()
        notNamespaces = try reader.read()
        serviceAccounts = try reader.read()
        notServiceAccounts = try reader.read()
        ipBlocks = try reader.read()
        notIpBlocks = try reader.read()
        trustDomains = try reader.read()
        notTrustDomains = try reader.read()
        requestPrincipals = try reader.read()
        notRequestPrincipals = try reader.read()
        remoteIpBlocks = try reader.read()
        notRemoteIpBlocks = try reader.read()
    }
}

extension AuthorizationPolicy.Operation: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(ports, notPorts, hosts, notHosts, methods, notMethods, paths, notPaths)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init()
        ports = try reader.read()
        notPorts = try reader.read()
        hosts = try reader.read()
        notHosts = try reader.read()
        methods = try reader.read()
        notMethods = try reader.read()
        paths = try reader.read()
        notPaths = try reader.read()
    }
}

extension AuthorizationPolicy.Condition: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(key, values, notValues) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(key: try reader.read(), values: try reader.read(), notValues: try reader.read())
    }
}

extension LabelSelector: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(matchLabels, matchExpressions) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(matchLabels: try reader.read(), matchExpressions: try reader.read())
    }
}

extension LabelSelector.Requirement: WireValue {
    public func encode(to writer: inout ByteWriter) {
        switch self {
        case .isIn(let key, let values): writer.write(0 as UInt8, key, values)
        case .isNotIn(let key, let values): writer.write(1 as UInt8, key, values)
        case .exists(let key): writer.write(2 as UInt8, key)
        case .doesNotExist(let key): writer.write(3 as UInt8, key)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.tag(below: 4, of: "LabelSelector.Requirement") {
        case 0: self = .isIn(key: try reader.read(), values: try reader.read())
        case 1: self = .isNotIn(key: try reader.read(), values: try reader.read())
        case 2: self = .exists(key: try reader.read())
        default: self = .doesNotExist(key: try reader.read())
        }
    }
}

extension CIDR: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(network, bits) }
    public init(from reader: inout ByteReader) throws(WireError) {
        let (network, bits): (IPAddress, UInt8) = (try reader.read(), try reader.read())
        guard bits <= 128, network.masked(to: bits) == network else {
            throw reader.failure("\(network) has more than \(bits) bits")
        }
        self.init(network, bits: bits)
    }
}
