// SPDX-License-Identifier: Apache-2.0

public import MeshModel

extension MeshRoute: WireValue {
    public func encode(to writer: inout ByteWriter) {
        switch self {
        case .http(let route): writer.write(0 as UInt8, route)
        case .grpc(let route): writer.write(1 as UInt8, route)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.tag(below: 2, of: "MeshRoute") {
        case 0: self = .http(try reader.read())
        default: self = .grpc(try reader.read())
        }
    }
}

extension Route: WireValue where Match: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(metadata, generation, parentRefs, hostnames, rules)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            metadata: try reader.read(), generation: try reader.read(), parentRefs: try reader.read(),
            hostnames: try reader.read(), rules: try reader.read())
    }
}

extension Route.Rule: WireValue where Match: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(name, matches, filters, backends, timeouts, retry, unsupported)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            name: try reader.read(), matches: try reader.read(), filters: try reader.read(),
            backends: try reader.read(), timeouts: try reader.read(), retry: try reader.read(),
            unsupported: try reader.read())
    }
}

extension UnsupportedRouteValue: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(part == .match, field, reason) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            part: try reader.read() ? .match : .action, field: try reader.read(), reason: try reader.read())
    }
}

extension RouteParentReference: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(group, kind, namespace, name, sectionName, port)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            group: try reader.read(), kind: try reader.read(), namespace: try reader.read(), name: try reader.read(),
            sectionName: try reader.read(), port: try reader.read())
    }
}

extension RouteBackendReference: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(group, kind, namespace, name, port) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            group: try reader.read(), kind: try reader.read(), namespace: try reader.read(), name: try reader.read(),
            port: try reader.read())
    }
}

extension RouteBackend: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(reference, weight, filters) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(reference: try reader.read(), weight: try reader.read(), filters: try reader.read())
    }
}

extension GatewayDuration: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(milliseconds) }
    public init(from reader: inout ByteReader) throws(WireError) { self.init(milliseconds: try reader.read()) }
}

extension RouteTimeouts: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(request, backendRequest) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(request: try reader.read(), backendRequest: try reader.read())
    }
}

extension RouteRetry: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(codes, attempts, backoff) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(codes: try reader.read(), attempts: try reader.read(), backoff: try reader.read())
    }
}
