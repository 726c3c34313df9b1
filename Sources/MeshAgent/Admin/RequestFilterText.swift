// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// What is done to a request on its way, a line for each step.
struct RequestFilterText {
    private(set) var lines: [String] = []

    init(_ trace: RequestTrace) {
        guard let rule = trace.rule else { return }
        add(rule.actions, "")
        for backend in trace.backends {
            guard let actions = backend.actions else { continue }
            guard case .service(let name, let port)? = backend.target else { continue }
            add(actions, "for backend \(name):\(port), ")
        }
        if let timeout = rule.timeouts.request { lines.append("timeout of the request \(timeout)") }
        if let timeout = rule.timeouts.backendRequest { lines.append("timeout of each attempt \(timeout)") }
        if let retry = rule.retry {
            let codes = retry.codes.map(String.init).joined(separator: ", ")
            lines.append("up to \(retry.attempts ?? RouteRetry.defaultAttempts) retries, also after status [\(codes)]")
        }
    }

    /// What holds for the Service that the client has asked.
    mutating func add(_ settings: MeshPolicySettings) {
        for limit in settings.rateLimits ?? [] {
            let dry = limit.isDryRun ? ", dry run" : ""
            lines.append("rate limit \(limit.text)\(dry): 429 beyond")
        }
        if let fault = settings.fault { lines.append("fault: \(fault.text)") }
    }

    private mutating func add(_ actions: RouteActions, _ prefix: String) {
        if let modification = actions.requestHeaders { lines.append("\(prefix)request headers: \(modification.text)") }
        if let redirect = actions.redirect { lines.append("\(prefix)redirect with \(redirect.statusCode)") }
        if let rewrite = actions.rewrite {
            if let path = rewrite.path { lines.append("\(prefix)rewrite of the path: \(path.text)") }
            if let host = rewrite.hostname { lines.append("\(prefix)rewrite of the host: \(host)") }
        }
        for mirror in actions.mirrors {
            let target: String
            switch mirror.target {
            case .service(let name, let port): target = "\(name):\(port)"
            case .invalid(_, let reason): target = "nowhere, as \(reason)"
            }
            lines.append("\(prefix)mirror of \(mirror.share.text) to \(target)")
        }
        if let cors = actions.cors {
            lines.append("\(prefix)CORS for origins \(cors.allowOrigins.joined(separator: ", "))")
        }
        if let modification = actions.responseHeaders {
            lines.append("\(prefix)response headers: \(modification.text)")
        }
    }
}

extension HeaderModification {
    fileprivate var text: String {
        let added = added.map { "write '\($0)'" }
        let names = dropped.map { String(decoding: $0, as: UTF8.self) }.joined(separator: ", ")
        return ((names.isEmpty ? [] : ["drop \(names)"]) + added).joined(separator: "; ")
    }
}

extension RouteActions.Mirror.Share {
    fileprivate var text: String {
        denominator == 100 ? "\(numerator) %" : "\(numerator) of \(denominator) requests"
    }
}

extension PathModifier {
    fileprivate var text: String {
        switch self {
        case .replaceFullPath(let path): "all of it becomes \(path)"
        case .replacePrefixMatch(let path): "the prefix that matched becomes \(path.isEmpty ? "nothing" : path)"
        }
    }
}
