// SPDX-License-Identifier: Apache-2.0

public import LinuxIO

/// One worker of the proxy: one thread, one loop, its own connections and pools. This is its face for other threads.
///
/// All calls put a command into the worker's mailbox and return; commands are carried out in order.
public final class ProxyWorker: Sendable {
    public let gauges = WorkerGauges()
    private let mailbox: Mailbox<WorkerCommand>
    private let configuration: EngineConfiguration
    private let origins: OriginSource
    private let diversion: ConnectionDiversion?
    private let legs: LegSource
    private let makeSink: @Sendable () -> RequestSink

    /// - Parameters:
    ///   - diversion: `nil`: all connections are for requests.
    ///   - makeSink: Makes the sink, on the worker's thread: it is that thread's alone.
    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    public init(
        configuration: EngineConfiguration = EngineConfiguration(), origins: @escaping OriginSource,
        diversion: ConnectionDiversion? = nil, legs: @escaping LegSource,
        makeSink: @escaping @Sendable () -> RequestSink
    ) throws(SystemError) {
        mailbox = try Mailbox()
        self.configuration = configuration
        self.origins = origins
        self.diversion = diversion
        self.legs = legs
        self.makeSink = makeSink
    }

    /// Serves on the calling thread until ``stop()``.
    ///
    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    public func run() throws(SystemError) {
        var engine = try Engine(
            configuration, origins: origins, diversion: diversion, legs: legs, sink: makeSink(), mailbox: mailbox,
            gauges: gauges)
        engine.run()
    }

    /// Serves on a thread of its own until ``stop()``.
    ///
    /// - Parameter failed: Told why the worker could not begin.
    public func start(failed: @escaping @Sendable (SystemError) -> Void) throws(SystemError) {
        try DetachedThread.start { [self] in
            do throws(SystemError) { try run() } catch { failed(error) }
        }
    }

    /// Accepts from a listening socket. The tag is handed to the ``OriginSource``, and names it for removal.
    public func addListener(_ descriptor: consuming OwnedDescriptor, tag: UInt64) {
        mailbox.put(.addListener(descriptor.relinquish(), tag: tag))
    }

    /// Serves a connection that came by a tunnel.
    public func serve(_ end: LocalEnd, _ origin: ConnectionOrigin) { mailbox.put(.serve(end, origin)) }

    /// Closes the listeners of this tag. Connections that they have accepted go on.
    public func removeListener(tag: UInt64) { mailbox.put(.removeListener(tag: tag)) }

    /// Routes requests that begin from now on by `snapshot`.
    public func publish(_ snapshot: ProxySnapshot) { mailbox.put(.publish(snapshot)) }

    /// Says that what was published has all policy up to this ``ConnectionOrigin/policyGeneration``: connections that
    /// came under a later one are held.
    public func enforce(policy generation: UInt32) { mailbox.put(.enforce(generation)) }

    /// Calls `done`, on the worker's thread, when every request that is put on a connection to a backend from then on is
    /// judged by what was published before this call, or later.
    public func whenInForce(_ done: @escaping @Sendable () -> Void) { mailbox.put(.whenInForce(done)) }

    /// Answers a ``LegRequest`` that was left pending.
    ///
    /// - Parameter descriptor: Connected or connecting.
    public func deliver(_ descriptor: consuming OwnedDescriptor, to ticket: LegTicket) {
        mailbox.put(.leg(ticket, descriptor.relinquish()))
    }

    /// The same, with an end of a pair.
    public func deliver(_ end: LocalEnd, to ticket: LegTicket) { mailbox.put(.localLeg(ticket, end)) }

    /// There will be no socket for this ``LegRequest``.
    public func refuse(_ ticket: LegTicket) { mailbox.put(.leg(ticket, -1)) }

    /// Closes all listeners, ends idle connections and announces the end on the others (RFC 9112 section 9.6).
    ///
    /// - Parameters:
    ///   - milliseconds: Then what is still open is reset.
    ///   - done: Called on the worker's thread when no client is connected any more.
    public func drain(milliseconds: UInt64, done: @escaping @Sendable () -> Void) {
        mailbox.put(.drain(milliseconds: milliseconds, done))
    }

    /// What the worker has counted, given on its thread.
    public func counters(_ reply: @escaping @Sendable (WorkerCounters) -> Void) { mailbox.put(.count(reply)) }

    /// What the worker's sink has counted, given on its thread.
    public func metrics(_ reply: @escaping @Sendable (MetricsSnapshot?) -> Void) { mailbox.put(.metrics(reply)) }

    /// Ends ``run()``; everything open is reset.
    public func stop() { mailbox.put(.stop) }
}
