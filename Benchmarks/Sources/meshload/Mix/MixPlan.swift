// SPDX-License-Identifier: Apache-2.0

/// What one connection of the soak test does. Both ends compute it from the header's seed.
struct MixPlan: Sendable, CustomStringConvertible {
    let seed: UInt64
    let listener: Listener
    let order: Order
    /// Client to server, and server to client.
    let up: Direction
    let down: Direction
    let noDelay: Bool

    /// Ports of the server, by offset.
    enum Listener: Int, CaseIterable, Sendable {
        case ordinary, deferred, fastopen, lowwater
    }

    /// Who sends when.
    enum Order: Int, CaseIterable, Sendable {
        /// Both directions at once, each ends with its own half-close.
        case concurrent
        /// The client sends all and half-closes; then the server does.
        case uploadfirst
        /// The server sends all and half-closes; then the client does.
        case downloadfirst
        /// The client sends all and closes at once; the server sends nothing.
        case sendandclose
        /// The server sends all and closes at once; the client sends nothing.
        case pullandclose
        /// Rounds of a request and a response.
        case pingpong
    }

    enum Sending: Int, CaseIterable, Sendable { case plain, vector, file, more, polling }

    enum Receiving: Int, CaseIterable, Sendable { case simple, peek, waitall, lowat, readvec, poller, late }

    struct Direction: Sendable {
        let bytes: UInt64
        let sending: Sending
        let receiving: Receiving
        /// Largest single write and read.
        let write: Int
        let read: Int
    }

    init(seed: UInt64, largest: Int, allowed: Behaviours) {
        var random = SplitMix64(state: seed)
        self.seed = seed
        let order = allowed.choose(Order.allCases, &random)
        self.order = order
        // A low-water mark makes the reader wait for bytes that a ping-pong peer will not send yet.
        let waits = order == .pingpong || order == .downloadfirst || order == .pullandclose
        let listener = allowed.choose(waits ? [.ordinary, .deferred, .fastopen] : Listener.allCases, &random)
        self.listener = listener
        noDelay = random.chance(50)
        // MSG_PEEK under a low-water mark can wait for ever, in plain TCP too: the bytes it leaves in the queue
        // hold a whole buffer, the window stays shut, and the bytes it waits for are never sent.
        let receivings = Receiving.allCases.filter { order != .pingpong || ($0 != .lowat && $0 != .late) }
        let accepted = receivings.filter { listener != .lowwater || $0 != .peek }
        func direction(silent: Bool, _ receivings: [Receiving]) -> Direction {
            let bytes = silent ? 0 : random.logUniform(largest)
            // Some thousands of calls at most: a connection is slow on purpose, but never stands still.
            let smallest = max(1, bytes >> 12)
            return Direction(
                bytes: UInt64(bytes),
                sending: allowed.choose(Sending.allCases, &random),
                receiving: allowed.choose(receivings, &random),
                write: max(smallest, random.logUniform(256 << 10)),
                read: max(smallest, random.logUniform(256 << 10)))
        }
        up = direction(silent: order == .pullandclose, accepted)
        down = direction(silent: order == .sendandclose, receivings)
    }

    /// Sizes of the rounds of a ping-pong: both ends draw the same.
    struct Rounds: Sequence, IteratorProtocol {
        private var random: SplitMix64
        private var left: Int

        init(_ plan: MixPlan) {
            random = SplitMix64(state: plan.seed ^ 0x5151)
            // With Nagle's algorithm a round of several writes takes a delayed acknowledgement, 40 ms.
            left = Int.random(in: 1...(plan.noDelay ? 1000 : 20), using: &random)
        }

        mutating func next() -> (request: Int, response: Int)? {
            guard left > 0 else { return nil }
            left -= 1
            return (random.logUniform(8192), random.logUniform(8192))
        }
    }

    var description: String {
        func text(_ name: String, _ direction: Direction) -> String {
            "\(name) \(direction.bytes) B (\(direction.sending), writes to \(direction.write),"
                + " \(direction.receiving), reads to \(direction.read))"
        }
        return "seed \(seed): \(order), \(listener) listener\(noDelay ? ", no delay" : ""), "
            + "\(text("up", up)), \(text("down", down))"
    }
}

/// The behaviours a run chooses from: `--only` and `--without` name them.
struct Behaviours: Sendable {
    private(set) var mask: UInt64

    private static let names: [String] =
        MixPlan.Order.allCases.map { "\($0)" } + MixPlan.Listener.allCases.map { "\($0)" }
        + MixPlan.Sending.allCases.map { "\($0)" } + MixPlan.Receiving.allCases.map { "\($0)" }

    init(mask: UInt64) { self.mask = mask }

    /// - Throws: ``LoadError`` if a name is none of the behaviours.
    init(only: String?, without: String?) throws(LoadError) {
        let all = (UInt64(1) << UInt64(Self.names.count)) - 1
        mask = try only.map { (list) throws(LoadError) in try Self.mask(of: list) } ?? all
        if let without { mask &= ~(try Self.mask(of: without)) }
    }

    private static func mask(of list: String) throws(LoadError) -> UInt64 {
        var mask: UInt64 = 0
        for name in list.split(separator: ",") {
            guard let bit = names.firstIndex(of: String(name)) else {
                throw LoadError("no behaviour is called '\(name)'; there are \(names.joined(separator: ", "))")
            }
            mask |= 1 << UInt64(bit)
        }
        return mask
    }

    /// One of the allowed candidates; the first candidate if none of them is allowed.
    func choose<Kind>(_ candidates: [Kind], _ random: inout SplitMix64) -> Kind {
        let allowed = candidates.filter { candidate in
            Self.names.firstIndex(of: "\(candidate)").map { mask & (1 << UInt64($0)) != 0 } ?? false
        }
        return allowed.randomElement(using: &random) ?? candidates[0]
    }
}
