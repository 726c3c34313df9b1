// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// `timeouts` and `retry` of a rule.
enum RouteTimingDecoder {
    static func timeouts(_ reader: FieldReader) -> RouteTimeouts {
        guard let fields = reader.object(strict: ["request", "backendRequest"]) else { return RouteTimeouts() }
        let timeouts = RouteTimeouts(
            request: fields["request"].flatMap(duration), backendRequest: fields["backendRequest"].flatMap(duration))
        if let request = timeouts.request, let attempt = timeouts.backendRequest, request.milliseconds > 0,
            attempt > request
        {
            fields["backendRequest"]?.report("\(attempt) is longer than the whole request's \(request)")
        }
        return timeouts
    }

    static func retry(_ reader: FieldReader) -> RouteRetry? {
        guard let fields = reader.object(strict: ["codes", "attempts", "backoff"]) else { return nil }
        var retry = RouteRetry()
        retry.codes =
            fields["codes"]?.list().compactMap { field in
                field.integer(in: 400...599).map { UInt16($0) }
            } ?? []
        if let field = fields["codes"], Set(retry.codes).count != retry.codes.count {
            field.report("has a code twice")
        }
        // More than this many attempts would be a load generator.
        retry.attempts = fields["attempts"]?.integer(in: 0...100).map { UInt32($0) }
        retry.backoff = fields["backoff"].flatMap(duration)
        return retry
    }

    static func duration(_ field: FieldReader) -> GatewayDuration? {
        guard let text = field.string() else { return nil }
        if let duration = GatewayDuration(text) { return duration }
        field.report(
            "\"\(text.clipped)\" is not a duration", remedy: "write it like 10s, 500ms or 1h30m, without fractions")
        return nil
    }
}
