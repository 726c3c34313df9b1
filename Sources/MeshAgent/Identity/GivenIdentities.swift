// SPDX-License-Identifier: Apache-2.0

import Identity
import IdentityProviders
import TLSEngine

/// What a proxy has of identities, as far as its agent knows.
struct GivenIdentities {
    /// Nothing is sent before it is known what is there.
    enum Knowledge: Hashable {
        case unknown
        /// It was asked.
        case asked
        case known
    }

    var knowledge = Knowledge.unknown
    /// By identity, the serial number.
    var serials: [SPIFFEID: String] = [:]
    var trust: TrustMaterial?
    /// How many it has said that it has.
    var confirmed = 0
    /// Why it did not take the last ones.
    var refusal: String?

    /// What would bring it to what the agent has: at most so many identities at a time.
    struct Difference {
        var trust: TrustMaterial?
        var removed: [SPIFFEID] = []
        var issued: [X509SVID] = []
        var isEmpty: Bool { trust == nil && removed.isEmpty && issued.isEmpty }
    }

    /// - Parameter svids: of all identities that are wanted; `nil`: there is none yet, and what the proxy has stays.
    func difference(to svids: [SPIFFEID: X509SVID?], _ trust: TrustMaterial?, atMost limit: Int) -> Difference {
        var difference = Difference()
        if let trust, trust != self.trust { difference.trust = trust }
        difference.removed = serials.keys.filter { svids[$0] == nil }.sorted()
        let newer = svids.values.compactMap { $0 }.filter { serials[$0.id] != $0.serial }
        difference.issued = Array(newer.sorted { $0.id < $1.id }.prefix(limit))
        return difference
    }

    /// The difference has been sent.
    mutating func apply(_ difference: Difference) {
        if let trust = difference.trust { self.trust = trust }
        for id in difference.removed { serials[id] = nil }
        for svid in difference.issued { serials[svid.id] = svid.serial }
    }
}
