// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// The parts of a MeshPolicy's spec beside its targets.
enum MeshPolicySettingsDecoder {
    private static let maximumRateLimits = 16
    /// Of a Service, more than any has.
    private static let maximumPorts = 64
    /// Of a rate and a burst; what a bucket of nanoseconds can count.
    private static let maximumRate: Int64 = 1_000_000
    /// What a proxy could hold at all.
    private static let maximumConnections: Int64 = 1_000_000
    /// As Envoy's. Above, a header block is an attack.
    private static let maximumHeadersKb: Int64 = 8192
    /// RFC 9113 section 6.5.2 recommends 100 at least; above this, one connection could hold a worker.
    private static let maximumStreams: Int64 = 65_535

    static func settings(_ spec: ObjectReader) -> MeshPolicySettings {
        var settings = MeshPolicySettings()
        if let field = spec["connection"] { connection(field, &settings) }
        if let field = spec["resilience"] { resilience(field, &settings) }
        settings.rateLimits = spec["rateLimit"].map(rateLimits)
        settings.fault = spec["fault"].flatMap(fault)
        if let field = spec["protocol"] { protocols(field, &settings) }
        return settings
    }

    // MARK: - Protocols

    private static func protocols(_ reader: FieldReader, _ settings: inout MeshPolicySettings) {
        guard let fields = reader.object(strict: ["detect", "appProtocolOverrides", "detectTimeout"]) else { return }
        settings.detect = fields["detect"]?.value(of: MeshPolicySettings.Detection.self)
        settings.protocolOverrides = fields["appProtocolOverrides"].flatMap(overrides)
        settings.detectTimeout = fields["detectTimeout"].flatMap { duration($0) }
        if let field = fields["detectTimeout"], let detect = settings.detect, detect != .auto,
            !(settings.protocolOverrides?.values.contains(.auto) ?? false)
        {
            field.report(
                "has no effect: nothing is detected if the protocol is \(detect.rawValue)", remedy: "remove it")
        }
    }

    private static func overrides(_ reader: FieldReader) -> [UInt16: MeshPolicySettings.Detection]? {
        guard let fields = reader.object() else { return nil }
        if fields.fields.count > maximumPorts {
            reader.report("has \(fields.fields.count) ports; the limit is \(maximumPorts)")
        }
        var result: [UInt16: MeshPolicySettings.Detection] = [:]
        for field in fields.fields {
            guard let port = UInt16(field.key), port > 0 else {
                fields.sink.report(
                    at: field.keyPosition, field: reader.path.key(field.key),
                    "the key must be a port between 1 and 65535")
                continue
            }
            result[port] = fields[field.key]?.value(of: MeshPolicySettings.Detection.self)
        }
        return result
    }

    // MARK: - Connection

    private static func connection(_ reader: FieldReader, _ settings: inout MeshPolicySettings) {
        guard
            let fields = reader.object(strict: [
                "maxConnections", "maxPending", "connectTimeout", "idleTimeout", "poolPerClient", "http",
            ])
        else { return }
        settings.maxConnections = fields["maxConnections"].flatMap { number($0, 1...maximumConnections) }
        settings.maxPending = fields["maxPending"].flatMap { number($0, 0...maximumConnections) }
        settings.connectTimeout = fields["connectTimeout"].flatMap { duration($0) }
        settings.idleTimeout = fields["idleTimeout"].flatMap { duration($0, mayBeZero: true) }
        settings.poolPerClient = fields["poolPerClient"]?.bool()
        guard let http = fields["http"]?.object(strict: ["maxRequestHeadersKb", "maxConcurrentStreams"]) else { return }
        settings.maxRequestHeadersKb = http["maxRequestHeadersKb"].flatMap { number($0, 1...maximumHeadersKb) }
        settings.maxConcurrentStreams = http["maxConcurrentStreams"].flatMap { number($0, 1...maximumStreams) }
    }

    // MARK: - Resilience

    private static func resilience(_ reader: FieldReader, _ settings: inout MeshPolicySettings) {
        guard
            let fields = reader.object(strict: ["timeouts", "retryBudget", "outlierDetection", "loadBalancing"])
        else { return }
        if let timeouts = fields["timeouts"].map(RouteTimingDecoder.timeouts) {
            settings.requestTimeout = timeouts.request
            settings.backendRequestTimeout = timeouts.backendRequest
        }
        settings.retryBudget = fields["retryBudget"].flatMap(retryBudget)
        settings.outlierDetection = fields["outlierDetection"].flatMap(outlierDetection)
        guard let balancing = fields["loadBalancing"]?.object(strict: ["algorithm", "hash", "locality"]) else { return }
        settings.algorithm = algorithm(balancing)
        settings.locality = balancing["locality"]?.value(of: MeshPolicySettings.Locality.self)
        if settings.locality != nil, settings.locality != .anywhere, case .maglev? = settings.algorithm {
            balancing["locality"]?.report(
                "has no effect with Maglev: a key leads to one endpoint wherever that is",
                remedy: "remove one of the two")
        }
    }

    private static func retryBudget(_ reader: FieldReader) -> MeshPolicySettings.RetryBudget? {
        guard let fields = reader.object(strict: ["percent", "interval", "minRetryRate"]) else { return nil }
        var budget = MeshPolicySettings.RetryBudget()
        set(&budget.percent, fields["percent"], 0...100)
        set(&budget.interval, fields["interval"])
        if let rate = fields["minRetryRate"]?.object(strict: ["count", "interval"]) {
            set(&budget.minimumCount, rate["count"], 0...maximumRate)
            set(&budget.minimumInterval, rate["interval"])
        }
        return budget
    }

    private static func outlierDetection(_ reader: FieldReader) -> MeshPolicySettings.OutlierDetection? {
        guard
            let fields = reader.object(strict: [
                "consecutive5xxErrors", "consecutiveGatewayErrors", "consecutiveConnectFailures", "interval",
                "baseEjectionTime", "maxEjectionTime", "maxEjectionPercent", "minHealthPercent",
            ])
        else { return nil }
        var outliers = MeshPolicySettings.OutlierDetection()
        set(&outliers.consecutiveServerErrors, fields["consecutive5xxErrors"], 0...65_535)
        set(&outliers.consecutiveGatewayErrors, fields["consecutiveGatewayErrors"], 0...65_535)
        set(&outliers.consecutiveConnectFailures, fields["consecutiveConnectFailures"], 0...65_535)
        set(&outliers.interval, fields["interval"])
        set(&outliers.baseEjectionTime, fields["baseEjectionTime"])
        set(&outliers.maxEjectionTime, fields["maxEjectionTime"])
        set(&outliers.maxEjectionPercent, fields["maxEjectionPercent"], 0...100)
        set(&outliers.minHealthPercent, fields["minHealthPercent"], 0...100)
        if outliers.maxEjectionTime < outliers.baseEjectionTime {
            (fields["maxEjectionTime"] ?? fields["baseEjectionTime"])?.report(
                "the longest ejection, \(outliers.maxEjectionTime), is shorter than the first, \(outliers.baseEjectionTime)"
            )
        }
        return outliers
    }

    private static func algorithm(_ fields: ObjectReader) -> MeshPolicySettings.Algorithm? {
        let name = fields["algorithm"]?.string(oneOf: ["RoundRobin", "LeastRequest", "Maglev"])
        if let field = fields["hash"], name != "Maglev" {
            field.report("belongs to the algorithm Maglev only", remedy: "remove it, or write algorithm: Maglev")
        }
        switch name {
        case "RoundRobin": return .roundRobin
        case "LeastRequest": return .leastRequest
        case "Maglev":
            guard
                let hash = fields.required("hash", remedy: "say by what requests are kept together"),
                let parts = hash.object(strict: ["key", "header"])
            else { return nil }
            let key = parts.required("key")?.string(oneOf: ["SourceAddress", "Header"])
            let header = headerName(parts, ifKeyIsHeader: key)
            if key == "Header" { return header.map { .maglev(.header($0)) } }
            return key == nil ? nil : .maglev(.sourceAddress)
        default: return nil
        }
    }

    // MARK: - Rate limits and faults

    private static func rateLimits(_ reader: FieldReader) -> [MeshPolicySettings.RateLimit] {
        var keys: Set<MeshPolicySettings.RateLimit.Key> = []
        return reader.list(atMost: maximumRateLimits).compactMap { field in
            guard
                let fields = field.object(strict: ["key", "header", "requestsPerSecond", "burst", "dryRun"])
            else { return nil }
            let name = fields.required("key")?.string(oneOf: ["Route", "SourceIdentity", "Header"])
            let header = headerName(fields, ifKeyIsHeader: name)
            let rate = fields.required("requestsPerSecond").flatMap { number($0, 1...maximumRate) }
            let burst = fields["burst"].map { number($0, 1...maximumRate) } ?? rate
            let isDryRun = fields["dryRun"].map { $0.bool() } ?? false
            let key: MeshPolicySettings.RateLimit.Key? =
                switch name {
                case "Route": .route
                case "SourceIdentity": .sourceIdentity
                case "Header": header.map { .header($0) }
                default: nil
                }
            guard let key, let rate, let burst, let isDryRun else { return nil }
            if !keys.insert(key).inserted {
                field.report("has the key of another limit", remedy: "keep the lower of the two")
            }
            return .init(key: key, requestsPerSecond: rate, burst: burst, isDryRun: isDryRun)
        }
    }

    private static func fault(_ reader: FieldReader) -> MeshPolicySettings.Fault? {
        guard let fields = reader.object(strict: ["delay", "abort", "percent"]) else { return nil }
        if fields["delay"] == nil, fields["abort"] == nil { fields.report("must have delay or abort") }
        var fault = MeshPolicySettings.Fault()
        fault.delay = fields["delay"].flatMap { duration($0) }
        fault.abort = fields["abort"].flatMap(abort)
        set(&fault.percent, fields["percent"], 0...100)
        return fault
    }

    private static func abort(_ reader: FieldReader) -> MeshPolicySettings.Fault.Answer? {
        guard let fields = reader.object(strict: ["httpStatus", "grpcStatus"]) else { return nil }
        guard (fields["httpStatus"] == nil) != (fields["grpcStatus"] == nil) else {
            fields.report("must have one of httpStatus and grpcStatus")
            return nil
        }
        if let field = fields["grpcStatus"] { return number(field, 1...16).map { .grpcStatus(UInt8($0)) } }
        return fields["httpStatus"].flatMap { number($0, 200...599) }.map { .httpStatus(UInt16($0)) }
    }

    // MARK: - Values

    /// `header`, which is there if and only if the key is Header; in lower case.
    private static func headerName(_ fields: ObjectReader, ifKeyIsHeader key: String?) -> String? {
        guard key == "Header" else {
            if key != nil { fields["header"]?.report("belongs to the key Header only", remedy: "remove it") }
            return nil
        }
        return fields.required("header").flatMap(RouteFieldDecoder.name)?.lowercased()
    }

    private static func number(_ field: FieldReader, _ range: ClosedRange<Int64>) -> UInt32? {
        field.integer(in: range).map { UInt32($0) }
    }

    private static func set(_ value: inout UInt32, _ field: FieldReader?, _ range: ClosedRange<Int64>) {
        if let number = field.flatMap({ number($0, range) }) { value = number }
    }

    private static func set(_ value: inout GatewayDuration, _ field: FieldReader?) {
        if let found = field.flatMap({ duration($0) }) { value = found }
    }

    private static func duration(_ field: FieldReader, mayBeZero: Bool = false) -> GatewayDuration? {
        guard let duration = RouteTimingDecoder.duration(field) else { return nil }
        if duration.milliseconds == 0, !mayBeZero {
            field.report("must be longer than nothing", remedy: "remove it for the default")
            return nil
        }
        return duration
    }
}
