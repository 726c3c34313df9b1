// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import Testing

/// Needs root.
@Suite(.enabled(if: geteuid() == 0 || getenv("MESH_REQUIRE_ROOT") != nil, "needs root; use `make test-root`"))
struct LinkInfoTests {
    @Test func tellsVethFromOtherLinks() throws {
        let links = try NetworkNamespace.makeNew().run { () throws(SystemError) -> [LinkInfo] in
            for command in [
                "ip link set lo up", "ip link add eth0 type veth peer name other", "ip addr add 10.9.8.7/24 dev eth0",
                "ip -6 addr add fd00::7/64 dev eth0 nodad", "ip link add d0 type bridge",
                "ip addr add 10.9.9.1/32 dev d0",
            ] {
                try SystemError.check(command) { system(command) == 0 ? 0 : -1 }
            }
            return try LinkInfo.all()
        }
        let byAddress = Dictionary(links.map { ($0.address, $0) }, uniquingKeysWith: { first, _ in first })
        let veth = try #require(byAddress[0xffff_0a09_0807])
        #expect(veth.name == "eth0" && veth.isVeth && !veth.isLoopback)
        #expect(byAddress[0xfd00_0000_0000_0000_0000_0000_0000_0007]?.isVeth == true)
        #expect(byAddress[0xffff_0a09_0901]?.kind == "bridge")
        #expect(byAddress[0xffff_7f00_0001]?.isLoopback == true)
    }
}
