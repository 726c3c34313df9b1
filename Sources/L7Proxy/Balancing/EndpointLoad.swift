// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// What one worker knows of an endpoint: its configuration without strings, and what it is doing. One cache line or
/// two; numbers only, so that looking at it touches no reference count.
struct EndpointLoad: BitwiseCopyable {
    var address: IPAddress
    var port: UInt16
    var state: ClusterEndpoint.State
    var tier: LocalityTier
    var weight: UInt32
    var generation: UInt32
    /// Whether the configuration has it. If not, it stays until nothing uses it any more.
    var isConfigured = true

    /// Requests of this worker that have begun and not ended.
    var activeRequests: UInt32 = 0
    /// Connections of this worker, idle ones too.
    var connections: UInt32 = 0

    /// When its turn is, in the virtual time of ``TurnSchedule``; 0: it has had none.
    var deadline: UInt64 = 0

    var failures = FailureCounts()
    /// Nanoseconds; 0: it is not ejected.
    var ejectedUntil: UInt64 = 0
    /// When the last ejection ended, nanoseconds.
    var releasedAt: UInt64 = 0
    /// Ejections in a row, from which follows how long the next one is.
    var ejections: UInt16 = 0

    var identity: ClusterEndpoint.Identity { .init(address: address, port: port) }
    /// Whether the configuration lets it have requests, ejected or not.
    var isEligible: Bool { isConfigured && state == .ready && weight > 0 }
    /// Whether it counts as one of its tier, well or ill.
    var isMember: Bool { isConfigured && state != .draining && weight > 0 }
    var isEjected: Bool { ejectedUntil != 0 }
    var isInUse: Bool { activeRequests > 0 || connections > 0 }
}
