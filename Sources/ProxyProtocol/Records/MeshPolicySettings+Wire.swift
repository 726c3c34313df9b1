// SPDX-License-Identifier: Apache-2.0

public import MeshModel

/// Of one port: ``MeshPolicySettings/protocolOverrides`` has come to rest in `detect`.
extension MeshPolicySettings: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(maxConnections, maxPending, connectTimeout, idleTimeout)
        writer.write(poolPerClient, maxRequestHeadersKb, maxConcurrentStreams, requestTimeout, backendRequestTimeout)
        writer.write(retryBudget, outlierDetection, algorithm, locality)
        writer.write(rateLimits, fault, detect, detectTimeout)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init()
        maxConnections = try reader.read()
        maxPending = try reader.read()
        connectTimeout = try reader.read()
        idleTimeout = try reader.read()
        poolPerClient = try reader.read()
        maxRequestHeadersKb = try reader.read()
        maxConcurrentStreams = try reader.read()
        requestTimeout = try reader.read()
        backendRequestTimeout = try reader.read()
        retryBudget = try reader.read()
        outlierDetection = try reader.read()
        algorithm = try reader.read()
        locality = try reader.read()
        rateLimits = try reader.read()
        fault = try reader.read()
        detect = try reader.read()
        detectTimeout = try reader.read()
    }
}

extension MeshPolicySettings.RetryBudget: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(percent, interval, minimumCount, minimumInterval) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init()
        percent = try reader.read()
        interval = try reader.read()
        minimumCount = try reader.read()
        minimumInterval = try reader.read()
    }
}

extension MeshPolicySettings.OutlierDetection: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(consecutiveServerErrors, consecutiveGatewayErrors, consecutiveConnectFailures, interval)
        writer.write(baseEjectionTime, maxEjectionTime, maxEjectionPercent, minHealthPercent)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init()
        consecutiveServerErrors = try reader.read()
        consecutiveGatewayErrors = try reader.read()
        consecutiveConnectFailures = try reader.read()
        interval = try reader.read()
        baseEjectionTime = try reader.read()
        maxEjectionTime = try reader.read()
        maxEjectionPercent = try reader.read()
        minHealthPercent = try reader.read()
    }
}

extension MeshPolicySettings.Algorithm: WireValue {
    public func encode(to writer: inout ByteWriter) {
        switch self {
        case .roundRobin: writer.write(0 as UInt8)
        case .leastRequest: writer.write(1 as UInt8)
        case .maglev(let key): writer.write(2 as UInt8, key)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.tag(below: 3, of: "MeshPolicySettings.Algorithm") {
        case 0: self = .roundRobin
        case 1: self = .leastRequest
        default: self = .maglev(try reader.read())
        }
    }
}

extension MeshPolicySettings.HashKey: WireValue {
    public func encode(to writer: inout ByteWriter) {
        switch self {
        case .sourceAddress: writer.write(0 as UInt8)
        case .header(let name): writer.write(1 as UInt8, name)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.tag(below: 2, of: "MeshPolicySettings.HashKey") {
        case 0: self = .sourceAddress
        default: self = .header(try reader.read())
        }
    }
}

extension MeshPolicySettings.RateLimit: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(key, requestsPerSecond, burst, isDryRun) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            key: try reader.read(), requestsPerSecond: try reader.read(), burst: try reader.read(),
            isDryRun: try reader.read())
    }
}

extension MeshPolicySettings.RateLimit.Key: WireValue {
    public func encode(to writer: inout ByteWriter) {
        switch self {
        case .route: writer.write(0 as UInt8)
        case .sourceIdentity: writer.write(1 as UInt8)
        case .header(let name): writer.write(2 as UInt8, name)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.tag(below: 3, of: "MeshPolicySettings.RateLimit.Key") {
        case 0: self = .route
        case 1: self = .sourceIdentity
        default: self = .header(try reader.read())
        }
    }
}

extension MeshPolicySettings.Fault: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(delay, abort, percent) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(delay: try reader.read(), abort: try reader.read(), percent: try reader.read())
    }
}

extension MeshPolicySettings.Fault.Answer: WireValue {
    public func encode(to writer: inout ByteWriter) {
        switch self {
        case .httpStatus(let status): writer.write(0 as UInt8, status)
        case .grpcStatus(let status): writer.write(1 as UInt8, status)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.tag(below: 2, of: "MeshPolicySettings.Fault.Answer") {
        case 0: self = .httpStatus(try reader.read())
        default: self = .grpcStatus(try reader.read())
        }
    }
}

/// An enumeration whose cases have names: its name.
extension MeshPolicySettings.Locality: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(rawValue) }
    public init(from reader: inout ByteReader) throws(WireError) {
        let name: String = try reader.read()
        guard let value = Self(rawValue: name) else { throw reader.failure("\(name) is no locality") }
        self = value
    }
}

extension MeshPolicySettings.Detection: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(rawValue) }
    public init(from reader: inout ByteReader) throws(WireError) {
        let name: String = try reader.read()
        guard let value = Self(rawValue: name) else { throw reader.failure("\(name) is no protocol") }
        self = value
    }
}
