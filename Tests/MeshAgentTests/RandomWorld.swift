// SPDX-License-Identifier: Apache-2.0
import CMeshABI

@testable import MeshAgent
@testable import MeshModel

/// Random images over a few pods, prefixes and policies, so small that everything meets everything.
struct RandomWorld {
    struct Question {
        var sourceNetns: NetnsCookie?
        var source: IPAddress
        var destination: IPAddress
        var port: UInt16
        var transport: PolicyProtocol

        /// Whether the source's address is the source's. Who sends from another pod's address is refused before policy.
        func isOfOnePod(_ image: KernelImage) -> Bool {
            let owner = image.addresses[source]?.netns ?? 0
            guard let sourceNetns else { return true }
            return image.workloads[sourceNetns] == nil ? owner == 0 : owner == sourceNetns
        }
    }

    /// Content of the last image, to make the same one with other numbers.
    private struct Content {
        var sets: [NetnsCookie: PolicySet?] = [:]
        var image = KernelImage()
    }

    private var random: SplitMix64
    private var content = Content()
    private static let pods: [(cookie: NetnsCookie, address: IPAddress)] = (1...5).map {
        (NetnsCookie(4000 + $0), IPAddress(v4: 0x0a00_0000 + UInt32($0)))
    }
    private static let others = [0x0a00_0009, 0x0a01_0001, 0xc0a8_0001, 0xc0a8_0101].map { IPAddress(v4: $0) }
    private static let prefixes = ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/30", "192.168.0.0/16", "192.168.1.0/24"]
        .compactMap {
            CIDR($0)
        }
    private static let ports: [UInt16] = [0, 80, 255, 256, 65535]

    init(seed: UInt64) { random = SplitMix64(state: seed &* 0x9e37_79b9_7f4a_7c15 &+ 1) }

    /// Each source with each destination, port and protocol.
    let questions: [Question] = {
        let sources: [(NetnsCookie?, IPAddress)] = pods.map { ($0.cookie, $0.address) } + others.map { (nil, $0) }
        var all: [Question] = []
        for (netns, source) in sources {
            for destination in pods.map(\.address) + others where destination != source {
                for port in ports {
                    for transport in PolicyProtocol.allCases {
                        all.append(
                            Question(
                                sourceNetns: netns, source: source, destination: destination, port: port,
                                transport: transport))
                    }
                }
            }
        }
        return all
    }()

    /// Some pods, prefixes and policies of `last` changed.
    mutating func nextImage(_ registry: inout ContentRegistry, after last: KernelImage) -> KernelImage {
        var next = Content()
        next.image.cidrs[Self.prefixes[0]] = KernelImage.Address(identity: .world)
        for prefix in Self.prefixes.dropFirst() where chance(2, of: 3) {
            next.image.cidrs[prefix] = KernelImage.Address(identity: anyIdentity())
        }
        for other in Self.others where chance(1, of: 3) {
            next.image.addresses[other] = KernelImage.Address(identity: anyIdentity())
        }
        // An address may have gone to another pod, or be nobody's.
        let cookies = chance(1, of: 2) ? Self.pods.map(\.cookie) : Self.pods.map(\.cookie).shuffled(using: &random)
        for (cookie, address) in zip(cookies, Self.pods.map(\.address)) {
            let isEnrolled = chance(3, of: 4)
            let kept = chance(1, of: 2) ? last.addresses[address] : nil
            let identity = kept?.identity ?? anyIdentity()
            guard isEnrolled else {
                if chance(1, of: 2) { next.image.addresses[address] = KernelImage.Address(identity: identity) }
                continue
            }
            next.image.addresses[address] = KernelImage.Address(
                identity: identity, flags: MESH_ADDR_NEEDS_RECORD.rawValue, netns: cookie)
            next.image.workloads[cookie] = KernelImage.Workload(
                identity: PerFamily(both: identity), policySet: 0, dryRunSet: 0, flags: MESH_WL_READY.rawValue,
                addresses: [address])
            if let old = content.sets[cookie], chance(1, of: 2) {
                next.sets[cookie] = old
            } else {
                next.sets[cookie] = chance(1, of: 4) ? PolicySet?.none : anySet()
            }
        }
        content = next
        return sameImage(&registry)
    }

    /// The last image again, with the numbers that `registry` gives.
    func sameImage(_ registry: inout ContentRegistry) -> KernelImage {
        var image = content.image
        for cookie in content.sets.keys.sorted() {
            guard let set = content.sets[cookie] ?? nil else { continue }
            let number = (try? image.add(set, &registry)) ?? 0
            image.workloads[cookie]?.policySet = number
        }
        return image
    }

    /// Denies everyone but one identity, on every port.
    static func set(allowing identity: IdentityNumber) -> PolicySet {
        let table = PortTable(
            segments: [.init(firstPort: 0, portClass: 0, verdict: .deny)],
            exceptions: [[.init(identity: identity, verdict: .allow)]])
        return PolicySet(egressTCP: table, egressUDP: table, ingressTCP: table, ingressUDP: table)
    }

    private mutating func anySet() -> PolicySet {
        PolicySet(egressTCP: anyTable(), egressUDP: anyTable(), ingressTCP: anyTable(), ingressUDP: anyTable())
    }

    private mutating func anyTable() -> PortTable {
        var segments: [PortTable.Segment] = []
        var exceptions: [[PortTable.Exception]] = []
        for port in Self.ports where port == 0 || chance(1, of: 2) {
            segments.append(
                .init(firstPort: port, portClass: UInt16(exceptions.count), verdict: chance(1, of: 2) ? .allow : .deny))
            exceptions.append(
                (256..<264).compactMap { number in
                    chance(1, of: 3)
                        ? .init(identity: IdentityNumber(rawValue: number), verdict: chance(1, of: 2) ? .allow : .deny)
                        : nil
                })
        }
        return PortTable(segments: segments, exceptions: exceptions)
    }

    private mutating func anyIdentity() -> IdentityNumber {
        IdentityNumber(rawValue: 256 + UInt32(random.next() % 8))
    }

    private mutating func chance(_ numerator: UInt64, of denominator: UInt64) -> Bool {
        random.next() % denominator < numerator
    }
}

extension KernelImage {
    /// Adds a set under the number that the registry gives it.
    mutating func add(_ set: PolicySet, _ registry: inout ContentRegistry) throws -> UInt32 {
        let encoded = try registry.encode(set)
        policySets[encoded.number] = encoded.row
        portMaps.merge(encoded.portMaps) { $1 }
        pages.merge(encoded.pages) { $1 }
        return encoded.number
    }
}

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
