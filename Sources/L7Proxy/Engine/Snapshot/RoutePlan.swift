// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Plain-memory forms of what a request meets. They own nothing: ``PlanMemory`` does.
struct ServicePlan: BitwiseCopyable {
    /// In the snapshot.
    var index: Int32
    var port: UInt16
    /// Its backends speak HTTP/2 without being asked.
    var isHTTP2: Bool
    /// ``ProxyService/spoken``.
    var spoken: PortProtocol
    var key: KeyPlan
    var limits: UnsafeBufferPointer<LimitPlan>
    var fault: FaultInjection?
    /// ``ServicePolicy/poolsPerClient``.
    var poolsPerClient: Bool
    var authorization: ServiceAuthorization
    // Milliseconds; 0: none is set.
    var detectTimeout: UInt64
    var connectTimeout: UInt64
    var requestTimeout: UInt64
    var backendTimeout: UInt64
}

/// ``ServicePolicy/Key``.
enum KeyPlan: BitwiseCopyable {
    case none
    case sourceAddress
    case header(HeaderPlan.Name)
}

/// ``ServicePolicy/Limit``.
struct LimitPlan: BitwiseCopyable {
    enum Subject: BitwiseCopyable {
        case route
        case sourceIdentity
        case header(HeaderPlan.Name)
    }

    var subject: Subject
    var isDryRun: Bool
    /// What the client is told the limit is called.
    var name: UnsafeRawBufferPointer
}

struct RouterPlan: BitwiseCopyable {
    /// Kept alive by the snapshot.
    var router: Unmanaged<Router>
    var rules: UnsafeBufferPointer<RulePlan>
}

/// ``CompiledRouteRule`` as the steady path reads it.
struct RulePlan: BitwiseCopyable {
    struct Traits: OptionSet, BitwiseCopyable {
        let rawValue: UInt8

        /// It has a filter that the mesh does not have.
        static let failure = Traits(rawValue: 1 << 0)
        static let redirect = Traits(rawValue: 1 << 1)
        static let cors = Traits(rawValue: 1 << 2)
        static let rewrite = Traits(rawValue: 1 << 3)
        /// It has mirrors, or one of its backends has.
        static let mirrors = Traits(rawValue: 1 << 4)
        static let retry = Traits(rawValue: 1 << 5)
        /// Of a GRPCRoute: its backends speak HTTP/2.
        static let grpc = Traits(rawValue: 1 << 6)
        /// Anything of which the steady path knows nothing before a backend is chosen.
        static let special: Traits = [.failure, .redirect, .cors]
    }

    /// Among all rules of the snapshot.
    var id: Int32
    /// In ``ProxySnapshot/routers``, and in ``Router/rules``.
    var router: Int32
    var index: Int32
    var traits: Traits
    var backends: UnsafeBufferPointer<BackendPlan>
    /// Empty: every weight is 0.
    var columns: UnsafeBufferPointer<AliasTable.Column>
    var request: HeaderPlan
    var response: HeaderPlan
    /// Milliseconds; 0: no limit; `max`: the rule says nothing.
    var requestTimeout: UInt64
    var backendTimeout: UInt64
    var retryStatuses: StatusSet
    var mirrors: UnsafeBufferPointer<MirrorPlan>

    /// Index of a backend with the probability of its weight.
    ///
    /// - Parameter random: uniform over all values: the upper half chooses the column, the lower half in it.
    @inline(__always)
    func backend(random: UInt64) -> Int? {
        if columns.isEmpty { return nil }
        let index = Int(((random >> 32) &* UInt64(columns.count)) >> 32)
        let column = columns[index]
        let isOwn = column.threshold == .max || UInt32(truncatingIfNeeded: random) < column.threshold
        return isOwn ? index : Int(column.alias)
    }
}

struct BackendPlan: BitwiseCopyable {
    /// In the snapshot; -1: it cannot be used, 500.
    var service: Int32
    /// In ``CompiledRouteRule/backends``.
    var index: Int32
    var traits: RulePlan.Traits
    var request: HeaderPlan
    var response: HeaderPlan
    var mirrors: UnsafeBufferPointer<MirrorPlan>
}

/// A backend that gets copies of requests.
struct MirrorPlan: BitwiseCopyable {
    /// In the snapshot; -1: it cannot be used.
    var service: Int32
    var share: RouteActions.Mirror.Share
}

/// Statuses from 400 to 599.
struct StatusSet: BitwiseCopyable {
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    init(_ statuses: [UInt16]) {
        for status in statuses where status >= 400 && status < 600 {
            let bit = UInt64(1) << UInt64((status - 400) % 64)
            switch (status - 400) / 64 {
            case 0: words.0 |= bit
            case 1: words.1 |= bit
            case 2: words.2 |= bit
            default: words.3 |= bit
            }
        }
    }

    func contains(_ status: UInt16) -> Bool {
        guard status >= 400, status < 600 else { return false }
        let bit = UInt64(1) << UInt64((status - 400) % 64)
        switch (status - 400) / 64 {
        case 0: return words.0 & bit != 0
        case 1: return words.1 & bit != 0
        case 2: return words.2 & bit != 0
        default: return words.3 & bit != 0
        }
    }
}

/// A ``HeaderModification``: which lines go, and which are written after the others.
struct HeaderPlan: BitwiseCopyable {
    struct Name: BitwiseCopyable {
        var known: FieldName
        /// In lower case.
        var text: UnsafeRawBufferPointer
    }

    struct Line: BitwiseCopyable {
        var name: UnsafeRawBufferPointer
        var value: UnsafeRawBufferPointer
    }

    var dropped = UnsafeBufferPointer<Name>(start: nil, count: 0)
    var added = UnsafeBufferPointer<Line>(start: nil, count: 0)

    /// - Parameter message: The memory that the offsets of the fields are for.
    @inline(__always)
    func drop(from fields: inout FieldTable, in message: UnsafeRawPointer) {
        for name in dropped {
            if name.known != .other {
                fields.remove(name.known)
            } else {
                fields.remove(named: name.text, in: message)
            }
        }
    }

    /// - Parameter later: A modification that comes after this one: what it drops is not written.
    @inline(__always)
    func add<Writer: FieldWriter & ~Copyable>(to writer: inout Writer, unlessDroppedBy later: HeaderPlan = HeaderPlan())
    {
        for line in added where !later.drops(line.name) { writer.field(named: line.name, line.value) }
    }

    func drops(_ name: UnsafeRawBufferPointer) -> Bool {
        for other in dropped where ASCII.equalIgnoringCase(other.text, name) { return true }
        return false
    }
}
