// SPDX-License-Identifier: Apache-2.0

public import Identity
public import LinuxIO
import TLSEngine

/// An authority that serves nodes over the network: listens, shakes hands, bounds what anybody may take, and passes calls
/// on to the ``AuthorityDesk``.
///
/// Belongs to the thread of its loop.
public final class AuthorityService {
    /// Connections at a time. Of those that have shown no certificate (or have not got so far) there are a few
    /// (``StrangerRoom``); one more ends another, and so does a node for which there is no room.
    public static let maximumConnections = 256
    /// For the handshake, and for each pause between calls.
    static let patience = Duration.seconds(10)
    /// Longest life of a connection: an exchange of a node takes less, and the next handshake looks at its certificate again.
    static let longestLife = Duration.seconds(60)
    /// Connections of one node: it needs one.
    static let maximumPerNode = 4
    /// Between two lines of the log about strangers.
    private static let strangerSeconds: Int64 = 1
    /// How often the authority's own affairs are looked after: revocation lists, its own certificates.
    private static let upkeepInterval = Duration.seconds(10)

    /// Where it listens.
    public let endpoint: StreamEndpoint

    private final class Connection {
        let channel: TLSChannel
        let address: StreamEndpoint
        /// In the order in which they came.
        let number: UInt64
        let began = ContinuousClock.now
        var asker: AuthorityDesk.Asker?

        init(_ channel: TLSChannel, _ address: StreamEndpoint, _ number: UInt64) {
            self.channel = channel
            self.address = address
            self.number = number
        }
    }

    /// By reference: handshakes under way must not move it.
    private final class Context {
        let tls: TLSContext

        init(_ svid: X509SVID, _ trust: TrustMaterial) throws(TLSError) {
            tls = try TLSContext(
                .server, svid: svid, trusting: trust.bundles(), application: .authority, allowsStrangers: true)
        }
    }

    private let loop: EventLoop
    private let listener: OwnedDescriptor
    let desk: AuthorityDesk
    private let id: SPIFFEID
    private let report: (AuthorityEvent) -> Void
    private let addressText: (StreamEndpoint) -> String
    private let clock: () -> UnixTime
    private var svid: X509SVID
    private var context: Context
    private var renewal: RenewalSchedule
    private var random: any RandomNumberGenerator = SystemRandomNumberGenerator()
    private var connections: [ObjectIdentifier: Connection] = [:]
    private(set) var strangers = StrangerRoom()
    private var accepted: UInt64 = 0
    private var watch: EventLoop.Watch?
    private var upkeep: EventLoop.Timer?
    private var strangersTold = UnixTime(seconds: 0)
    private var strangersUntold = 0

    /// Listens, and serves from the loop's next turn on.
    ///
    /// - Parameters:
    ///   - addressText: an address and a port for people.
    ///   - clock: by which calls are counted and certificates issued.
    /// - Throws: ``JoinError``.
    public init(
        _ authority: LocalAuthority, tokens: NodeTokens, placement: any IdentityPlacement, at endpoint: StreamEndpoint,
        on loop: EventLoop, addressText: @escaping (StreamEndpoint) -> String,
        clock: @escaping () -> UnixTime = { .now },
        report: @escaping (AuthorityEvent) -> Void
    ) throws(JoinError) {
        self.loop = loop
        self.report = report
        self.addressText = addressText
        self.clock = clock
        desk = AuthorityDesk(authority, tokens, placement, report: report)
        do throws(SPIFFEIDError) { id = try MeshMember.authority(authority.trustDomain) } catch {
            throw JoinError("\(error)")
        }
        let now = UnixTime.now
        do throws(TLSError) {
            svid = try authority.issue(id, at: now)
            context = try Context(svid, desk.trust)
        } catch { throw JoinError("\(error)") }
        renewal = RenewalSchedule(at: now)
        renewal.succeeded(at: now, notAfter: svid.notAfter, random: random.next())
        do throws(SystemError) {
            listener = try StreamSocket.listen(at: endpoint, backlog: 128)
        } catch { throw JoinError("\(error)") }
        self.endpoint = StreamSocket.localEndpoint(listener.rawValue) ?? endpoint
        lookAfter()
        do throws(SystemError) {
            watch = try loop.watch(listener.rawValue, for: .readable) { [weak self] _ in self?.accept() }
        } catch { throw JoinError("\(error)") }
        upkeep = loop.schedule(every: Self.upkeepInterval) { [weak self] in self?.lookAfter() }
    }

    deinit {
        if let watch { loop.unwatch(watch) }
        if let upkeep { loop.cancel(upkeep) }
    }

    // MARK: - Its own affairs

    func lookAfter() {
        let now = UnixTime.now
        for update in desk.authority.advance(to: now) {
            switch update {
            case .trust(let trust):
                desk.trust = trust
                renewContext(at: now)
            case .trouble(let reason?):
                report(AuthorityEvent(.error, "the authority is in trouble", ["reason": reason]))
            case .trouble(nil): report(AuthorityEvent(.notice, "the authority is well again"))
            // It is asked for no identities.
            case .issued, .withdrawn, .failed: break
            }
        }
        if renewal.isDue(at: now) { renewContext(at: now) }
    }

    /// With a certificate of the root that signs now, and by the lists that hold now. Connections that are open go on, but
    /// for those whose certificate would not be accepted now.
    func renewContext(at now: UnixTime) {
        do throws(TLSError) {
            let peers = VerifiedPeers(try desk.trust.bundles())
            for connection in Array(connections.values) {
                guard !connection.channel.isShakingHands else {
                    // By what held before; whoever it is may come again.
                    connection.channel.end("what is accepted has changed during its handshake")
                    continue
                }
                guard let rejection = connection.channel.peerRejection(trusting: peers) else { continue }
                connection.channel.end("its certificate is not accepted any more: \(rejection)")
            }
            svid = try desk.authority.issue(id, at: now)
            context = try Context(svid, desk.trust)
            renewal.succeeded(at: now, notAfter: svid.notAfter, random: random.next())
        } catch {
            renewal.failed(at: now, random: random.next())
            report(
                AuthorityEvent(
                    .error, "the authority cannot renew its own certificate",
                    ["reason": "\(error)", "notAfter": "\(svid.notAfter)"]))
        }
    }

    // MARK: - Connections

    private func accept() {
        // Not all at once: those that are open have work too.
        for _ in 0..<16 {
            var address = StreamEndpoint.loopback(port: 0)
            let socket = StreamSocket.accept(listener.rawValue, from: &address)
            if socket == StreamSocket.wouldBlock { return }
            guard socket >= 0 else { return pause(SystemError.message(of: CInt(-socket))) }
            admit(OwnedDescriptor(adopting: CInt(socket)), address)
        }
    }

    /// Accepts nothing for a moment: what failed would fail again at once.
    private func pause(_ reason: String) {
        report(AuthorityEvent(.error, "connections cannot be accepted", ["reason": reason]))
        guard let watch else { return }
        try? loop.rewatch(watch, for: [])
        loop.schedule(after: .milliseconds(500)) { [weak self] in try? self?.loop.rewatch(watch, for: .readable) }
    }

    private func admit(_ socket: consuming OwnedDescriptor, _ address: StreamEndpoint) {
        if connections.count >= Self.maximumConnections { end(strangers.leaveOne()) }
        guard connections.count < Self.maximumConnections else {
            return tellOfStranger(address, "there are \(Self.maximumConnections) connections; that is the limit")
        }
        do {
            let channel = TLSChannel(
                socket, context.tls, expecting: .memberOf(desk.authority.trustDomain),
                frameLimit: AuthorityCall.maximumBytes, on: loop)
            accepted += 1
            let connection = Connection(channel, address, accepted)
            let key = ObjectIdentifier(connection)
            channel.onOpen = { [weak self, weak connection] in self?.opened(connection) }
            channel.onFrame = { [weak self, weak connection] frame in self?.take(frame, connection) }
            channel.onEnd = { [weak self] reason in self?.ended(key, reason) }
            channel.setDeadline(Self.patience, "the handshake was not done in time")
            try channel.start()
            connections[key] = connection
            end(strangers.enter(accepted, StrangerRoom.Source(address)))
        } catch {
            tellOfStranger(address, "\(error)")
        }
    }

    /// One that has to make room.
    private func end(_ number: UInt64?) {
        guard let number, let connection = connections.values.first(where: { $0.number == number }) else { return }
        connection.channel.end("too many others came after it")
    }

    private func opened(_ connection: Connection?) {
        guard let connection else { return }
        let asker = AuthorityDesk.Asker(connection.channel.peer)
        if case .node = asker, connections.values.count(where: { $0.asker == asker }) >= Self.maximumPerNode {
            return connection.channel.end("the node has \(Self.maximumPerNode) connections; that is the limit")
        }
        connection.asker = asker
        if case .node = asker { strangers.proved(connection.number) }
        connection.channel.setDeadline(Self.patience, "it has asked nothing")
    }

    private func take(_ frame: [UInt8], _ connection: Connection?) {
        guard let connection, let asker = connection.asker else { return }
        let answer = desk.answer(frame, from: asker, at: addressText(connection.address), now: clock())
        connection.channel.send(AuthorityJSON.encode(answer))
        // Who is no node has one call: a stranger joins, and comes back as somebody. Who asks too much comes again later.
        guard case .node = asker, !answer.isBusy else { return connection.channel.close() }
        let left = Self.longestLife - connection.began.duration(to: .now)
        connection.channel.setDeadline(
            min(Self.patience, max(left, .zero)), "it has asked nothing more, or for too long")
    }

    private func ended(_ key: ObjectIdentifier, _ reason: String?) {
        guard let connection = connections.removeValue(forKey: key) else { return }
        strangers.left(connection.number)
        guard let reason else { return }
        switch connection.asker {
        case nil, .stranger: tellOfStranger(connection.address, reason)
        case .node(let node): report(AuthorityEvent(.info, "a connection ended", ["node": node, "reason": reason]))
        case .other(let id): tellOfStranger(connection.address, "\(id): \(reason)")
        }
    }

    /// One line a second: anybody can bring it about.
    private func tellOfStranger(_ address: StreamEndpoint, _ reason: String) {
        let now = UnixTime.now
        guard now - strangersTold >= Self.strangerSeconds else {
            strangersUntold += 1
            return
        }
        var details = ["address": addressText(address), "reason": reason]
        if strangersUntold > 0 { details["others"] = "\(strangersUntold)" }
        (strangersTold, strangersUntold) = (now, 0)
        report(AuthorityEvent(.warning, "a connection was not accepted", details))
    }
}

@available(*, unavailable)
extension AuthorityService: Sendable {}
