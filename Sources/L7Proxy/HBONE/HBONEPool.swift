// SPDX-License-Identifier: Apache-2.0

import Identity
import MeshModel

/// Connections that may carry the same tunnels. Never shared between identities, nor between pods of one identity: a
/// peer's policy sees both.
struct HBONEPoolKey: Hashable {
    let identity: SPIFFEID
    let source: IPAddress
    let network: UInt64
    let acceptable: Set<SPIFFEID>
    let gateway: IPAddress
    let port: UInt16

    init(_ outbound: HBONEOutbound) {
        identity = outbound.identity
        source = outbound.source
        network = outbound.network
        acceptable = Set(outbound.acceptable)
        gateway = outbound.gateway ?? outbound.destination
        port = outbound.gatewayPort
    }
}

/// The connections to one peer for one source, and the tunnels that wait for one.
struct HBONEPool: ~Copyable {
    let key: HBONEPoolKey
    /// Those that are open or being made.
    var connections: HBONEConnectionPointer?
    /// Connections that are being made: many tunnels wait for few of them.
    var dialling = 0
    var firstWaiting: HBONETunnelPointer?
    var lastWaiting: HBONETunnelPointer?
    var waitingCount = 0

    init(_ key: HBONEPoolKey) { self.key = key }

    var isUnused: Bool { connections == nil && waitingCount == 0 }

    mutating func add(_ connection: HBONEConnectionPointer, _ itself: HBONEPoolPointer) {
        connection.pointee.pool = itself
        connection.pointee.previous = nil
        connection.pointee.next = connections
        connections?.pointee.previous = connection
        connections = connection
    }

    mutating func remove(_ connection: HBONEConnectionPointer) {
        let (previous, next) = (connection.pointee.previous, connection.pointee.next)
        if let previous { previous.pointee.next = next } else { connections = next }
        next?.pointee.previous = previous
        connection.pointee.next = nil
        connection.pointee.previous = nil
        connection.pointee.pool = nil
    }

    mutating func append(_ tunnel: HBONETunnelPointer, _ itself: HBONEPoolPointer) {
        tunnel.pointee.pool = itself
        tunnel.pointee.next = nil
        tunnel.pointee.previous = lastWaiting
        if let lastWaiting { lastWaiting.pointee.next = tunnel } else { firstWaiting = tunnel }
        lastWaiting = tunnel
        waitingCount += 1
    }

    mutating func remove(_ tunnel: HBONETunnelPointer) {
        let (previous, next) = (tunnel.pointee.previous, tunnel.pointee.next)
        if let previous { previous.pointee.next = next } else { firstWaiting = next }
        if let next { next.pointee.previous = previous } else { lastWaiting = previous }
        tunnel.pointee.next = nil
        tunnel.pointee.previous = nil
        tunnel.pointee.pool = nil
        waitingCount -= 1
    }
}
