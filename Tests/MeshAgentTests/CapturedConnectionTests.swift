// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel
import Testing

@testable import MeshAgent

/// What a sweep makes of connections that the proxy carries.
@Suite struct CapturedConnectionTests {
    /// Pods 1 and 2, `10.0.0.NUMBER`; `sets` are the numbers of their policy sets: 0 allows, 1 denies, 2 needs L7.
    private static func sweeper(sets: [NetnsCookie: UInt32]) -> ConnectionSweeper {
        var tables = KernelTables()
        tables.pages[1] = PortPage(entries: [UInt16](repeating: UInt16(MESH_VERDICT_L7.rawValue), count: 256))
        tables.portMaps[1] = PortMap(pages: [UInt16](repeating: 1, count: 256))
        tables.policySets[2] = PolicySetRow(portMaps: [1, 1, 1, 1], exceptions: [:])
        let identity = IdentityNumber(rawValue: 256)
        for netns in [NetnsCookie(1), 2] {
            let set = sets[netns] ?? 0
            tables.workloads[netns] = KernelTables.Workload(
                identity: Slots(even: PerFamily(both: identity), odd: PerFamily(both: identity)),
                policySet: Slots(even: set, odd: set), dryRunSet: Slots(even: 0, odd: 0),
                flags: MESH_WL_READY.rawValue)
            tables.addresses[pod(netns)] = KernelTables.Address(
                identity: Slots(even: identity, odd: identity), flags: 0, netns: Slots(even: netns, odd: netns))
        }
        return ConnectionSweeper(tables) { _ in nil }
    }

    private static func pod(_ number: UInt64) -> IPAddress { ConnectionSweeperTests.address("10.0.0.\(number)") }

    /// An end of a connection of pod 1 that was led to the proxy on its way to pod 2.
    private static func captured(isClient: Bool = true, service: UInt32 = 0) -> ConnectionEnd {
        let listener = mesh_ip(ConnectionSweeperTests.address("127.0.0.1"))
        var end = mesh_end()
        end.role = UInt8((isClient ? MESH_ROLE_CLIENT : MESH_ROLE_PROXY).rawValue)
        (end.netns, end.peer_netns) = (1, 1)
        end.flags = UInt16((MESH_END_ESTABLISHED.rawValue | MESH_END_CAPTURED.rawValue))
        (end.service_address, end.service_port, end.service) = (mesh_ip(pod(2)), 80, service)
        let own = mesh_ip(pod(1))
        return ConnectionEnd(
            key: mesh_flow_key(
                local: isClient ? own : listener, remote: isClient ? listener : own, local_port: isClient ? 4000 : 5000,
                remote_port: isClient ? 5000 : 4000, zero: 0, netns: 1), end: end)
    }

    /// An end of a connection from pod 1 to pod 2.
    private static func leg(_ role: mesh_end_role, flags: UInt32 = MESH_END_ESTABLISHED.rawValue) -> ConnectionEnd {
        let isClient = role.rawValue & 1 == 0
        let own = mesh_ip(pod(isClient ? 1 : 2))
        let other = mesh_ip(pod(isClient ? 2 : 1))
        var end = mesh_end()
        end.role = UInt8(role.rawValue)
        (end.netns, end.peer_netns) = isClient ? (1, 2) : (2, 1)
        end.flags = UInt16(flags)
        return ConnectionEnd(
            key: mesh_flow_key(
                local: own, remote: other, local_port: isClient ? 4000 : 80, remote_port: isClient ? 80 : 4000, zero: 0,
                netns: 0), end: end)
    }

    @Test(arguments: [true, false])
    func itIsJudgedByWhereItWantsToGo(isClient: Bool) {
        let end = Self.captured(isClient: isClient)
        #expect(Self.sweeper(sets: [:]).verdict(on: end) == MESH_REASON_NONE)
        #expect(Self.sweeper(sets: [1: 1]).verdict(on: end) == MESH_REASON_POLICY_EGRESS)
        #expect(Self.sweeper(sets: [2: 1]).verdict(on: end) == MESH_REASON_POLICY_INGRESS)
        #expect(Self.sweeper(sets: [1: 2, 2: 2]).verdict(on: end) == MESH_REASON_NONE)
        #expect(Self.sweeper(sets: [1: 2, 2: 1]).verdict(on: end) == MESH_REASON_POLICY_INGRESS)
    }

    @Test func toAServiceItsLegsAreJudged() {
        #expect(Self.sweeper(sets: [1: 1, 2: 1]).verdict(on: Self.captured(service: 4)) == MESH_REASON_NONE)
    }

    @Test func onlyTheProxyMayBeAskedWhatNeedsL7() {
        let sweeper = Self.sweeper(sets: [2: 2])
        #expect(sweeper.verdict(on: Self.leg(MESH_ROLE_CLIENT)) == MESH_REASON_NEEDS_PROXY)
        #expect(sweeper.verdict(on: Self.leg(MESH_ROLE_SERVER)) == MESH_REASON_NEEDS_PROXY)
        #expect(sweeper.verdict(on: Self.leg(MESH_ROLE_LEG)) == MESH_REASON_NONE)
        #expect(sweeper.verdict(on: Self.leg(MESH_ROLE_PROXY)) == MESH_REASON_NONE)
        let reached = MESH_END_ESTABLISHED.rawValue | MESH_END_PROXIED.rawValue
        #expect(sweeper.verdict(on: Self.leg(MESH_ROLE_SERVER, flags: reached)) == MESH_REASON_NONE)
        for role in [MESH_ROLE_LEG, MESH_ROLE_PROXY] {
            #expect(Self.sweeper(sets: [2: 1]).verdict(on: Self.leg(role)) == MESH_REASON_POLICY_INGRESS)
        }
    }
}
