// SPDX-License-Identifier: Apache-2.0

import CMeshABI
import Testing

/// What BPF programs and this process must agree on, as Swift sees it: `mesh_abi.h` asserts the sizes for C only.
@Suite struct ABILayoutTests {
    private func size<T>(_: T.Type) -> Int {
        // Swift would otherwise leave out tail padding and arrays of the type would be laid out differently.
        #expect(MemoryLayout<T>.size == MemoryLayout<T>.stride)
        return MemoryLayout<T>.size
    }

    @Test func everyStructureHasTheSizeThatTheHeaderAsserts() {
        #expect(size(mesh_control.self) == 64)
        #expect(size(mesh_workload.self) == 40)
        #expect(size(mesh_address.self) == 32)
        #expect(size(mesh_ip.self) == 16)
        #expect(size(mesh_cidr_key.self) == 20)
        #expect(size(mesh_service_key.self) == 20)
        #expect(size(mesh_service.self) == 24)
        #expect(size(mesh_route_key.self) == 8)
        #expect(size(mesh_listener.self) == 40)
        #expect(size(mesh_backend_key.self) == 8)
        #expect(size(mesh_backend.self) == 28)
        #expect(size(mesh_affinity_key.self) == 16)
        #expect(size(mesh_affinity.self) == 32)
        #expect(size(mesh_member_key.self) == 24)
        #expect(size(mesh_policy_set.self) == 16)
        #expect(size(mesh_port_map.self) == 512)
        #expect(size(mesh_port_page.self) == 512)
        #expect(size(mesh_policy_key.self) == 12)
        #expect(size(mesh_policy_entry.self) == 4)
        #expect(size(mesh_skip_key.self) == 16)
        #expect(size(mesh_flow_key.self) == 48)
        #expect(size(mesh_end.self) == 128)
        #expect(size(mesh_sock.self) == 144)
        #expect(size(mesh_leg.self) == 56)
        #expect(size(mesh_origin.self) == 72)
        #expect(size(mesh_udp_key.self) == 32)
        #expect(size(mesh_udp_flow.self) == 16)
        #expect(size(mesh_udp_reverse_key.self) == 32)
        #expect(size(mesh_udp_reverse.self) == 20)
        #expect(size(mesh_usage.self) == 72)
        #expect(size(mesh_event.self) == 152)
        #expect(size(mesh_query.self) == 80)
        #expect(size(mesh_reap.self) == 96)
        #expect(size(mesh_fill.self) == 192)
    }

    @Test func theControlWordIsWhereProgramsReadIt() {
        #expect(MemoryLayout<mesh_control>.offset(of: \.generation) == 0)
        #expect(MemoryLayout<mesh_control>.offset(of: \.flags) == 4)
        #expect(MemoryLayout<mesh_control>.offset(of: \.node_netns) == 8)
        #expect(MemoryLayout<mesh_control>.offset(of: \.high_water) == 16)
        #expect(MemoryLayout<mesh_control>.offset(of: \.events_per_second) == 44)
        #expect(MemoryLayout<mesh_control>.offset(of: \.udp_idle_ns) == 48)
        #expect(MemoryLayout<mesh_control>.offset(of: \.proxy_live) == 56)
    }

    @Test func slotsAndIdentitiesAreWhereProgramsReadThem() {
        #expect(MemoryLayout<mesh_workload>.offset(of: \.identity) == 0)
        #expect(MemoryLayout<mesh_workload>.offset(of: \.policy_set) == 16)
        #expect(MemoryLayout<mesh_workload>.offset(of: \.dry_run_set) == 24)
        #expect(MemoryLayout<mesh_workload>.offset(of: \.flags) == 32)
        #expect(MemoryLayout<mesh_workload>.offset(of: \.route_class) == 36)
        #expect(MemoryLayout<mesh_address>.offset(of: \.flags) == 8)
        #expect(MemoryLayout<mesh_address>.offset(of: \.netns) == 16)
        #expect(MemoryLayout<mesh_cidr_key>.offset(of: \.address) == 4)
        #expect(MemoryLayout<mesh_policy_key>.offset(of: \.port_class) == 8)
        #expect(MemoryLayout<mesh_policy_key>.offset(of: \.direction) == 10)
        #expect(MemoryLayout<mesh_policy_key>.offset(of: \.protocol) == 11)
    }

    @Test func keysOfServicesAndFlowsAreWhereProgramsReadThem() {
        #expect(MemoryLayout<mesh_service_key>.offset(of: \.port) == 16)
        #expect(MemoryLayout<mesh_service_key>.offset(of: \.protocol) == 18)
        #expect(MemoryLayout<mesh_backend>.offset(of: \.port) == 16)
        #expect(MemoryLayout<mesh_backend>.offset(of: \.threshold) == 20)
        #expect(MemoryLayout<mesh_backend>.offset(of: \.alias) == 24)
        #expect(MemoryLayout<mesh_member_key>.offset(of: \.address) == 8)
        #expect(MemoryLayout<mesh_flow_key>.offset(of: \.remote) == 16)
        #expect(MemoryLayout<mesh_flow_key>.offset(of: \.local_port) == 32)
        #expect(MemoryLayout<mesh_flow_key>.offset(of: \.netns) == 40)
        #expect(MemoryLayout<mesh_udp_key>.offset(of: \.remote) == 8)
        #expect(MemoryLayout<mesh_udp_key>.offset(of: \.local_port) == 24)
    }

    @Test func recordsAndEventsAreWhereProgramsWriteThem() {
        #expect(MemoryLayout<mesh_end>.offset(of: \.cookie) == 8)
        #expect(MemoryLayout<mesh_end>.offset(of: \.service_address) == 64)
        #expect(MemoryLayout<mesh_end>.offset(of: \.path) == 83)
        #expect(MemoryLayout<mesh_end>.offset(of: \.flags) == 86)
        #expect(MemoryLayout<mesh_end>.offset(of: \.identity) == 88)
        #expect(MemoryLayout<mesh_end>.offset(of: \.service) == 120)
        #expect(MemoryLayout<mesh_sock>.offset(of: \.path) == 101)
        #expect(MemoryLayout<mesh_leg>.offset(of: \.client) == 16)
        #expect(MemoryLayout<mesh_leg>.offset(of: \.identity) == 40)
        #expect(MemoryLayout<mesh_leg>.offset(of: \.role) == 48)
        #expect(MemoryLayout<mesh_origin>.offset(of: \.netns) == 32)
        #expect(MemoryLayout<mesh_origin>.offset(of: \.port) == 60)
        #expect(MemoryLayout<mesh_origin>.offset(of: \.direction) == 64)
        #expect(MemoryLayout<mesh_event>.offset(of: \.source) == 32)
        #expect(MemoryLayout<mesh_event>.offset(of: \.type) == 86)
        #expect(MemoryLayout<mesh_event>.offset(of: \.path_reason) == 92)
        #expect(MemoryLayout<mesh_event>.offset(of: \.bytes_redirected) == 144)
        #expect(MemoryLayout<mesh_query>.offset(of: \.destination) == 24)
        #expect(MemoryLayout<mesh_query>.offset(of: \.generation) == 48)
        #expect(MemoryLayout<mesh_query>.offset(of: \.verdict) == 68)
        #expect(MemoryLayout<mesh_reap>.offset(of: \.cookie) == 80)
        #expect(MemoryLayout<mesh_fill>.offset(of: \.listener) == 104)
        #expect(MemoryLayout<mesh_fill>.offset(of: \.cidr) == 144)
        #expect(MemoryLayout<mesh_fill>.offset(of: \.done) == 188)
    }

    @Test func addressesKeepTheirByteOrder() {
        var key = mesh_service_key()
        key.address.word.2 = UInt32(0xffff).bigEndian
        key.address.word.3 = UInt32(0x0a00_0001).bigEndian
        key.port = 8080
        let bytes = withUnsafeBytes(of: &key) { Array($0) }
        #expect(bytes[0..<16] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1])
        #expect(bytes[16..<20] == [0x90, 0x1f, 0, 0])
    }
}
