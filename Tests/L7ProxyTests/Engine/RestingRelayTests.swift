// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import Testing

@testable import L7Proxy

/// Silent connections for which a backend is connected that says nothing either.
@Suite(.serialized) struct RestingRelayTests {
    /// One connection at a time, as far as anything is counted.
    private static func rig(_ ports: [UInt16], places: UInt32 = 1) throws -> Rig {
        var policies = Rig.Policies()
        policies.service.cluster.limits.connections = places
        policies.service.cluster.limits.requests = places
        return try Rig(ports, appProtocol: nil, policies: policies) {
            $0.detectTimeout = 1
            $0.headTimeout = 20
        }
    }

    /// A connection on which something was said and answered; `nil`: there is no room for it.
    private static func talk(_ rig: Rig) -> TestConnection? {
        let client = rig.client()
        return says(client) ? client : nil
    }

    private static func says(_ client: TestConnection) -> Bool {
        client.send("*")
        return client.read(count: 1) == [0x2a]
    }

    private static func finish(_ client: TestConnection?) {
        client?.endOutput()
        _ = client?.readToEnd()
    }

    @Test func theirPlaceIsForOthers() throws {
        let backend = try RelayTests.echo()
        let rig = try Self.rig([backend.port])
        let silent = rig.client()
        #expect(Poll.until { backend.connections == 1 })
        var other: TestConnection?
        #expect(
            Poll.until {
                other = Self.talk(rig)
                return other != nil
            })
        // And no longer its own.
        silent.send("*")
        #expect(silent.receive() == .reset)
        #expect(Poll.until { rig.recorder.all.last?.reason == .circuitOpen })
        #expect(Self.talk(rig) == nil, "one place is one, whoever has rested")
        Self.finish(other)
        #expect(Poll.until { rig.counters().upstreams == 0 && rig.counters().exchanges == 0 })
        #expect(Self.talk(rig) != nil)
    }

    @Test func whoBeginsAfterAllTakesItAgain() throws {
        let backend = try RelayTests.echo()
        let rig = try Self.rig([backend.port])
        let silent = rig.client()
        #expect(Poll.until { backend.connections == 1 })
        #expect(
            Poll.until {
                let other = Self.talk(rig)
                Self.finish(other)
                return other != nil
            })
        #expect(Poll.until { rig.counters().upstreams == 1 })
        #expect(Self.says(silent))
        #expect(Self.talk(rig) == nil)
        // It goes on though its endpoint is nobody's any more, as any that was there before.
        rig.publish([])
        #expect(Self.says(silent))
        Self.finish(silent)
        #expect(Poll.until { rig.counters().upstreams == 0 && rig.counters().exchanges == 0 })
    }

    /// Whether it ends by its client, or begins.
    @Test(arguments: [false, true]) func anEndpointMayLeaveMeanwhile(_ begins: Bool) throws {
        let backend = try RelayTests.echo()
        let rig = try Self.rig([backend.port])
        let silent = rig.client()
        #expect(Poll.until { backend.connections == 1 })
        #expect(Poll.until { Self.talk(rig) != nil })
        rig.publish([])
        #expect(Poll.until { rig.counters().upstreams == 1 })
        if begins { #expect(Self.says(silent)) }
        silent.close()
        #expect(Poll.until { rig.counters().upstreams == 0 && rig.counters().exchanges == 0 })
        rig.publish([backend.port])
        #expect(Poll.until { Self.talk(rig) != nil })
    }

    /// The backend with a silent connection is chosen as often as the other: with a load it never would be.
    @Test func theyAreNoLoad() throws {
        let backends = [try RelayTests.echo(), try RelayTests.echo()]
        let rig = try Self.rig(backends.map(\.port), places: 100)
        let silent = rig.client()
        #expect(Poll.until { backends.contains { $0.connections == 1 } })
        let burdened = backends[0].connections == 1 ? backends[0] : backends[1]
        #expect(
            Poll.until {
                Self.finish(Self.talk(rig))
                return Poll.until { rig.counters().relays == 0 } && burdened.connections > 1
            })
        #expect(Self.says(silent))
    }
}
