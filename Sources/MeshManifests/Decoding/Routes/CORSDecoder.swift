// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// `cors` of a filter.
enum CORSDecoder {
    static func policy(_ reader: FieldReader) -> CORSPolicy? {
        guard
            let fields = reader.object(strict: [
                "allowOrigins", "allowCredentials", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge",
            ])
        else { return nil }
        var policy = CORSPolicy()
        policy.allowOrigins = list(fields["allowOrigins"], atMost: 64, isAloneWithStar: true, RouteText.origin)
        policy.allowCredentials = fields["allowCredentials"]?.bool() ?? false
        policy.allowMethods = list(fields["allowMethods"], atMost: 9, isAloneWithStar: true) { method in
            method == "*" || HTTPRouteMatch.methods.contains(method)
                ? nil : "\"\(method.clipped)\" is not one of \(HTTPRouteMatch.methods.joined(separator: ", ")) or *"
        }
        policy.allowHeaders = list(fields["allowHeaders"], atMost: 64, isAloneWithStar: true, RouteText.headerName)
        policy.exposeHeaders = list(fields["exposeHeaders"], atMost: 64, isAloneWithStar: false, RouteText.headerName)
        if let seconds = fields["maxAge"]?.integer(in: 1...Int64(Int32.max)) { policy.maxAge = UInt32(seconds) }
        if policy.allowOrigins.isEmpty {
            reader.report(
                "allows no origin, so browsers refuse every request across origins", remedy: "write allowOrigins",
                severity: .warning)
        }
        return policy
    }

    private static func list(
        _ reader: FieldReader?, atMost limit: Int, isAloneWithStar: Bool, _ check: (String) -> String?
    ) -> [String] {
        guard let reader else { return [] }
        var seen: Set<String> = []
        let values = reader.list(atMost: limit).compactMap { field -> String? in
            guard let text = field.string() else { return nil }
            if let problem = check(text) { field.report(problem) }
            if !seen.insert(text).inserted { field.report("\"\(text.clipped)\" is there twice", remedy: "remove one") }
            return text
        }
        if isAloneWithStar, values.contains("*"), values.count > 1 {
            reader.report("\"*\" cannot be together with others", remedy: "keep only \"*\", or remove it")
        }
        return values
    }
}
