// SPDX-License-Identifier: Apache-2.0

/// What a filter looks at. Lent for the call; nothing of it may be kept.
struct FilterContext: ~Copyable {
    let origin: ConnectionOrigin
    let head: RequestHead
    /// The memory that the offsets of head and fields are for.
    let message: UnsafeRawPointer
    /// In the normal form in which routes compare paths, without the query.
    let path: UnsafeRawBufferPointer
    /// `nil`: the connection is not to a Service.
    let service: UnsafePointer<ServicePlan>?
    /// `nil`: no route is attached.
    let rule: UnsafePointer<RulePlan>?
    /// Milliseconds of the loop's clock.
    let now: UInt64
    /// uniform over all values.
    let random: UInt64
}

/// What becomes of a request after a filter.
enum FilterVerdict: Equatable {
    case proceed
    /// Answer with the status of the reason.
    case refuse(ReasonCode)
}

/// The one ordered chain through which every request passes.
///
/// 1. What the protocol forbids (``ProtocolFilter``), when the rule is known. Then the rule's own answers: redirect, CORS.
/// 2. When a backend, and an endpoint of it, is chosen (`Engine+Admission`): who may (authorization, which is the policy
///    of the pod that would receive the request); then how often (rate limits, so that the refused do not use up what the
///    allowed have); then faults on purpose. A further attempt is authorized again, because it may go to another pod.
///
/// A filter of the first part is a value of this struct with a method that takes the context (and the fields, which it
/// may drop lines of) and gives a verdict; ``evaluate(_:_:)`` calls them in order and stops at the first that refuses.
/// What a filter must remember between requests is kept by its worker: there is one chain per worker, and no lock. Token
/// buckets outlive snapshots, with the cluster of the Service. Rules of a configuration reach a filter by the plans of
/// the snapshot, not by stored references, so that a request is judged by one version. Filters must not allocate.
struct FilterChain: ~Copyable {
    private let protocolRules = ProtocolFilter()

    @inline(__always)
    mutating func evaluate(_ context: borrowing FilterContext, _ fields: inout FieldTable) -> FilterVerdict {
        protocolRules.evaluate(context, fields)
    }
}

/// What an intermediary may not pass on.
struct ProtocolFilter {
    /// Methods and hops (RFC 9110 sections 7.6.2 and 9.3.6).
    @inline(__always)
    func evaluate(_ context: borrowing FilterContext, _ fields: borrowing FieldTable) -> FilterVerdict {
        switch context.head.method {
        // The mesh leads connections itself; a client that asks for a tunnel to anywhere takes it for another proxy.
        case .connect: return .refuse(.methodNotSupported)
        // With Max-Forwards: 0 the recipient is us: we have no options of our own, and do not reflect requests.
        case .trace, .options:
            // The message is in a block of the engine or of the stream, which nobody else reads.
            if MaxForwards.count(fields, in: UnsafeMutableRawPointer(mutating: context.message)) { return .proceed }
            return .refuse(context.head.method == .trace ? .methodNotSupported : .hopsExhausted)
        default: return .proceed
        }
    }
}
