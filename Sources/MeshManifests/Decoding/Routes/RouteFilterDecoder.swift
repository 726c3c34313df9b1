// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// `filters` of a rule or a backend.
struct RouteFilterDecoder {
    enum FilterType: String, CaseIterable {
        case requestHeaderModifier = "RequestHeaderModifier"
        case responseHeaderModifier = "ResponseHeaderModifier"
        case requestMirror = "RequestMirror"
        case requestRedirect = "RequestRedirect"
        case urlRewrite = "URLRewrite"
        case cors = "CORS"
        case externalAuth = "ExternalAuth"
        case extensionRef = "ExtensionRef"

        /// The field that goes with the type.
        var field: String {
            switch self {
            case .requestHeaderModifier: "requestHeaderModifier"
            case .responseHeaderModifier: "responseHeaderModifier"
            case .requestMirror: "requestMirror"
            case .requestRedirect: "requestRedirect"
            case .urlRewrite: "urlRewrite"
            case .cors: "cors"
            case .externalAuth: "externalAuth"
            case .extensionRef: "extensionRef"
            }
        }
    }

    static let grpcTypes: Set<FilterType> = [
        .requestHeaderModifier, .responseHeaderModifier, .requestMirror, .extensionRef,
    ]
    static let maximumFilters = 16

    let allowed: Set<FilterType>
    /// Whether the rule has one match, which is a prefix: what ReplacePrefixMatch needs.
    let hasOnePrefix: Bool
    let isOnBackend: Bool
    let unsupported: UnsupportedRouteSink

    func filters(_ reader: FieldReader?) -> [RouteFilter] {
        guard let reader else { return [] }
        var seen: Set<FilterType> = []
        return reader.list(atMost: Self.maximumFilters).compactMap { field in
            let types = FilterType.allCases.filter(allowed.contains)
            guard let fields = field.object(strict: ["type"] + types.map(\.field)),
                let type = fields.required("type")?.string(oneOf: types.map(\.rawValue))
                    .flatMap({ FilterType(rawValue: $0) })
            else { return nil }
            for other in types where other != type {
                fields[other.field]?.report(
                    "does not belong to a filter of the type \(type.rawValue)",
                    remedy: "write a filter of its own, with type: \(other.rawValue)")
            }
            let mayRepeat = type == .requestMirror || type == .extensionRef || type == .externalAuth
            if !seen.insert(type).inserted, !mayRepeat {
                field.report("a second filter of the type \(type.rawValue)", remedy: "keep one of them")
            }
            if type == .urlRewrite && seen.contains(.requestRedirect)
                || type == .requestRedirect && seen.contains(.urlRewrite)
            {
                field.report("RequestRedirect and URLRewrite cannot be together", remedy: "keep one of them")
            }
            guard let value = fields.required(type.field) else { return nil }
            return filter(type, value)
        }
    }

    private func filter(_ type: FilterType, _ value: FieldReader) -> RouteFilter? {
        let fields = RouteFieldDecoder(unsupported: unsupported)
        switch type {
        case .requestHeaderModifier: return fields.modifier(value).map { .requestHeaderModifier($0) }
        case .responseHeaderModifier: return fields.modifier(value).map { .responseHeaderModifier($0) }
        case .requestMirror: return mirror(value).map { .requestMirror($0) }
        case .requestRedirect:
            refuseOnBackend(type, value)
            return redirect(value).map { .requestRedirect($0) }
        case .urlRewrite: return rewrite(value).map { .urlRewrite($0) }
        case .cors:
            refuseOnBackend(type, value)
            return CORSDecoder.policy(value).map { .cors($0) }
        case .externalAuth, .extensionRef:
            unsupported.report(
                value, .action, "filters of the type \(type.rawValue) are not supported", remedy: "remove the filter")
            return nil
        }
    }

    /// Both answer a request before a backend is chosen.
    private func refuseOnBackend(_ type: FilterType, _ value: FieldReader) {
        guard isOnBackend else { return }
        unsupported.report(
            value, .action, "a \(type.rawValue) filter is not supported on a backend", remedy: "move it to the rule")
    }

    private func redirect(_ reader: FieldReader) -> RequestRedirect? {
        guard let fields = reader.object(strict: ["scheme", "hostname", "path", "port", "statusCode"]) else {
            return nil
        }
        var redirect = RequestRedirect()
        redirect.scheme = fields["scheme"]?.value(of: RequestRedirect.Scheme.self)
        redirect.hostname = fields["hostname"].flatMap(hostname)
        redirect.path = fields["path"].flatMap(path)
        redirect.port = fields["port"]?.port()
        if let field = fields["statusCode"], let code = field.integer(in: 300...399) {
            if RequestRedirect.statusCodes.contains(UInt16(code)) {
                redirect.statusCode = UInt16(code)
            } else {
                field.report("must be 301, 302, 303, 307 or 308, but is \(code)")
            }
        }
        return redirect
    }

    private func rewrite(_ reader: FieldReader) -> URLRewrite? {
        guard let fields = reader.object(strict: ["hostname", "path"]) else { return nil }
        return URLRewrite(hostname: fields["hostname"].flatMap(hostname), path: fields["path"].flatMap(path))
    }

    private func hostname(_ field: FieldReader) -> String? {
        guard let name = field.string() else { return nil }
        if let problem = RouteText.hostname(name) { field.report(problem) }
        return name
    }

    private func path(_ reader: FieldReader) -> PathModifier? {
        guard let fields = reader.object(strict: ["type", "replaceFullPath", "replacePrefixMatch"]),
            let type = fields.required("type")?.string(oneOf: ["ReplaceFullPath", "ReplacePrefixMatch"])
        else { return nil }
        let isPrefix = type == "ReplacePrefixMatch"
        let (own, other) =
            isPrefix ? ("replacePrefixMatch", "replaceFullPath") : ("replaceFullPath", "replacePrefixMatch")
        fields[other]?.report("does not belong to the type \(type)", remedy: "use \(own)")
        guard let field = fields.required(own), let value = field.string() else { return nil }
        if value.utf8.count > RouteText.maximumPath {
            field.report("has \(value.utf8.count) characters; the limit is \(RouteText.maximumPath)")
        }
        if let (problem, remedy) = RouteText.replacement(value, mayBeEmpty: isPrefix) {
            field.report(problem, remedy: remedy)
        }
        if isPrefix, !hasOnePrefix {
            field.report(
                "needs a rule with exactly one match, of the path type PathPrefix",
                remedy: "write a rule for each prefix")
        }
        return isPrefix ? .replacePrefixMatch(value) : .replaceFullPath(value)
    }

    private func mirror(_ reader: FieldReader) -> RequestMirror? {
        guard let fields = reader.object(strict: ["backendRef", "percent", "fraction"]) else { return nil }
        let backend = fields.required("backendRef").flatMap { field -> RouteBackendReference? in
            field.object(strict: RouteReferenceDecoder.backendFields).flatMap(RouteReferenceDecoder.backend)
        }
        var share: (UInt32, UInt32) = (100, 100)
        if let field = fields["percent"] {
            if let percent = field.integer(in: 0...100) { share.0 = UInt32(percent) }
            fields["fraction"]?.report("cannot be together with percent", remedy: "keep one of them")
        } else if let fraction = fields["fraction"]?.object(strict: ["numerator", "denominator"]) {
            let numerator = fraction.required("numerator")?.integer(in: 0...Int64(Int32.max))
            let denominator = fraction["denominator"].map { $0.integer(in: 1...Int64(Int32.max)) } ?? 100
            if let numerator, let denominator {
                if numerator > denominator {
                    fraction.report("must not be more than 1, but is \(numerator)/\(denominator)")
                } else {
                    share = (UInt32(numerator), UInt32(denominator))
                }
            }
        }
        return backend.map { RequestMirror(backend: $0, numerator: share.0, denominator: share.1) }
    }
}
