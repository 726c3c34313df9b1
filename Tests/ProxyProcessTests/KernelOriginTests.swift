// SPDX-License-Identifier: Apache-2.0

import CMeshABI
import L7Proxy
import MeshModel
import Testing

@testable import ProxyProcess

@Suite struct KernelOriginTests {
    private static func bytes(_ change: (inout mesh_origin) -> Void = { _ in }) -> [UInt8] {
        var origin = mesh_origin()
        origin.destination.word = (0, 0, UInt32(0xffff).bigEndian, UInt32(0x0a60_000a).bigEndian)
        origin.client.word = (UInt32(0xfd81_0000).bigEndian, 0, 0, UInt32(5).bigEndian)
        origin.netns = 11
        origin.source_netns = 12
        origin.source_identity = 300
        origin.service = 4
        origin.generation = 9
        origin.port = 80
        origin.client_port = 40000
        origin.direction = UInt8(MESH_EGRESS.rawValue)
        change(&origin)
        return withUnsafeBytes(of: origin) { Array($0) }
    }

    private static func decode(_ bytes: some Collection<UInt8>) -> KernelOrigin? {
        Array(bytes).withUnsafeBytes { KernelOrigin(decoding: $0) }
    }

    @Test func everyFieldIsRead() throws {
        let origin = try #require(Self.decode(Self.bytes()))
        #expect(origin.destination == IPAddress("10.96.0.10"))
        #expect(origin.client == IPAddress("fd81::5"))
        #expect((origin.port, origin.clientPort) == (80, 40000))
        #expect((origin.netns, origin.sourceNetns) == (11, 12))
        #expect((origin.sourceIdentity, origin.service, origin.generation) == (300, 4, 9))
        #expect(origin.direction == .outbound)
    }

    @Test func whatIsUnknownIsNil() throws {
        let origin = try #require(
            Self.decode(
                Self.bytes {
                    ($0.source_netns, $0.service) = (0, 0)
                    $0.direction = UInt8(MESH_INGRESS.rawValue)
                }))
        #expect(origin.sourceNetns == nil)
        #expect(origin.service == nil)
        #expect(origin.direction == .inbound)
        // From outside the mesh: legs still start in the pod.
        #expect((origin.forEngine.network, origin.forEngine.sourceNetwork) == (11, 0))
    }

    @Test func anotherLengthOrDirectionIsRefused() {
        let bytes = Self.bytes()
        for count in 0..<bytes.count { #expect(Self.decode(bytes.prefix(count)) == nil) }
        #expect(Self.decode(bytes + [0]) == nil)
        #expect(Self.decode(Self.bytes { $0.direction = 2 }) == nil)
    }
}
