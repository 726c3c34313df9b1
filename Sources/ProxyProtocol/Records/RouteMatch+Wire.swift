// SPDX-License-Identifier: Apache-2.0

public import MeshModel

extension HTTPRouteMatch: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(path, method, headers, queryParams) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            path: try reader.read(), method: try reader.read(), headers: try reader.read(),
            queryParams: try reader.read())
    }
}

extension HTTPRouteMatch.PathMatch: WireValue {
    public func encode(to writer: inout ByteWriter) {
        switch self {
        case .exact(let path): writer.write(0 as UInt8, path)
        case .prefix(let path): writer.write(1 as UInt8, path)
        case .regularExpression(let pattern): writer.write(2 as UInt8, pattern)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.tag(below: 3, of: "PathMatch") {
        case 0: self = .exact(try reader.read())
        case 1: self = .prefix(try reader.read())
        default: self = .regularExpression(try reader.read())
        }
    }
}

extension FieldMatch: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(name, value) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(name: try reader.read(), value: try reader.read())
    }
}

extension FieldMatch.Value: WireValue {
    public func encode(to writer: inout ByteWriter) {
        switch self {
        case .exact(let text): writer.write(0 as UInt8, text)
        case .regularExpression(let pattern): writer.write(1 as UInt8, pattern)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.tag(below: 2, of: "FieldMatch") {
        case 0: self = .exact(try reader.read())
        default: self = .regularExpression(try reader.read())
        }
    }
}

extension GRPCRouteMatch: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(method, headers) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(method: try reader.read(), headers: try reader.read())
    }
}

extension GRPCRouteMatch.MethodMatch: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(kind == .regularExpression, service, method) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            kind: try reader.read() ? .regularExpression : .exact, service: try reader.read(),
            method: try reader.read())
    }
}
