// SPDX-License-Identifier: Apache-2.0

public import MeshModel

extension RouteFilter: WireValue {
    public func encode(to writer: inout ByteWriter) {
        switch self {
        case .requestHeaderModifier(let modifier): writer.write(0 as UInt8, modifier)
        case .responseHeaderModifier(let modifier): writer.write(1 as UInt8, modifier)
        case .requestRedirect(let redirect): writer.write(2 as UInt8, redirect)
        case .urlRewrite(let rewrite): writer.write(3 as UInt8, rewrite)
        case .requestMirror(let mirror): writer.write(4 as UInt8, mirror)
        case .cors(let policy): writer.write(5 as UInt8, policy)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.tag(below: 6, of: "RouteFilter") {
        case 0: self = .requestHeaderModifier(try reader.read())
        case 1: self = .responseHeaderModifier(try reader.read())
        case 2: self = .requestRedirect(try reader.read())
        case 3: self = .urlRewrite(try reader.read())
        case 4: self = .requestMirror(try reader.read())
        default: self = .cors(try reader.read())
        }
    }
}

extension HeaderField: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(name, value) }
    public init(from reader: inout ByteReader) throws(WireError) { self.init(try reader.read(), try reader.read()) }
}

extension HeaderModifier: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(set, add, remove) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(set: try reader.read(), add: try reader.read(), remove: try reader.read())
    }
}

extension PathModifier: WireValue {
    public func encode(to writer: inout ByteWriter) {
        switch self {
        case .replaceFullPath(let path): writer.write(0 as UInt8, path)
        case .replacePrefixMatch(let path): writer.write(1 as UInt8, path)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.tag(below: 2, of: "PathModifier") {
        case 0: self = .replaceFullPath(try reader.read())
        default: self = .replacePrefixMatch(try reader.read())
        }
    }
}

extension RequestRedirect.Scheme: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(self == .https) }
    public init(from reader: inout ByteReader) throws(WireError) { self = try reader.read() ? .https : .http }
}

extension RequestRedirect: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(scheme, hostname, path, port, statusCode) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            scheme: try reader.read(), hostname: try reader.read(), path: try reader.read(), port: try reader.read(),
            statusCode: try reader.read())
    }
}

extension URLRewrite: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(hostname, path) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(hostname: try reader.read(), path: try reader.read())
    }
}

extension RequestMirror: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(backend, numerator, denominator) }
    public init(from reader: inout ByteReader) throws(WireError) {
        let backend: RouteBackendReference = try reader.read()
        let (numerator, denominator): (UInt32, UInt32) = (try reader.read(), try reader.read())
        guard denominator > 0, numerator <= denominator else {
            throw reader.failure("\(numerator)/\(denominator) is no share of requests")
        }
        self.init(backend: backend, numerator: numerator, denominator: denominator)
    }
}

extension CORSPolicy: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(allowOrigins, allowCredentials, allowMethods, allowHeaders, exposeHeaders, maxAge)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            allowOrigins: try reader.read(), allowCredentials: try reader.read(), allowMethods: try reader.read(),
            allowHeaders: try reader.read(), exposeHeaders: try reader.read(), maxAge: try reader.read())
    }
}
