// SPDX-License-Identifier: Apache-2.0

public import LinuxIO

/// One worker of tunnels: one thread, one loop, its own connections with peers. This is its face for other threads.
///
/// All calls put a command into the worker's mailbox and return; commands are carried out in order. Nothing is accepted
/// or opened for an identity before ``publish(_:)`` has brought its certificate.
public final class HBONEWorker: Sendable {
    private let mailbox: Mailbox<HBONECommand>
    private let configuration: HBONEConfiguration
    private let composition: HBONEComposition
    private let makeSink: @Sendable () -> HBONESink

    /// - Parameters:
    ///   - makeSink: Makes the sink, on the worker's thread: it is that thread's alone.
    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    public init(
        configuration: HBONEConfiguration = HBONEConfiguration(), composition: HBONEComposition,
        makeSink: @escaping @Sendable () -> HBONESink
    ) throws(SystemError) {
        mailbox = try Mailbox()
        self.configuration = configuration
        self.composition = composition
        self.makeSink = makeSink
    }

    /// Serves on the calling thread until ``stop()``.
    ///
    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    public func run() throws(SystemError) {
        var engine = try HBONEEngine(configuration, composition, sink: makeSink(), mailbox: mailbox)
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

    /// Who the pods of this node are and whom they believe, from the next handshake on. Connections of identities that
    /// are gone, and peers that new bundles do not accept, are cut.
    public func publish(_ identities: TLSIdentities) { mailbox.put(.publish(identities)) }

    /// Policy has changed: it is asked again about every tunnel.
    public func policyChanged() { mailbox.put(.policyChanged) }

    /// Serves a peer's connection to a pod's port of HBONE that was accepted elsewhere.
    public func serve(_ origin: HBONEOrigin, _ descriptor: consuming OwnedDescriptor) {
        mailbox.put(.serve(origin, descriptor.relinquish()))
    }

    /// Accepts peers' connections to a pod's port of HBONE from a listening socket.
    public func addPeerListener(_ descriptor: consuming OwnedDescriptor, tag: UInt64) {
        mailbox.put(.addListener(descriptor.relinquish(), tag: tag, .peers))
    }

    /// Accepts pods' connections that are to go into tunnels; see ``HBONEComposition/outbound``.
    public func addPodListener(_ descriptor: consuming OwnedDescriptor, tag: UInt64) {
        mailbox.put(.addListener(descriptor.relinquish(), tag: tag, .pods))
    }

    /// Closes the listeners of this tag. What they have accepted goes on.
    public func removeListener(tag: UInt64) { mailbox.put(.removeListener(tag: tag)) }

    /// Opens a tunnel for a connection that was accepted elsewhere.
    public func open(_ outbound: HBONEOutbound, _ descriptor: consuming OwnedDescriptor) {
        mailbox.put(.open(outbound, descriptor.relinquish()))
    }

    /// Opens a tunnel for the end of a pair whose other end another worker has.
    public func open(_ outbound: HBONEOutbound, _ end: LocalEnd) { mailbox.put(.openLocal(outbound, end)) }

    /// Answers a ``LegRequest`` that was left pending.
    ///
    /// - Parameter descriptor: Connected or connecting.
    public func deliver(_ descriptor: consuming OwnedDescriptor, to request: LegRequest) {
        mailbox.put(.leg(request.ticket, descriptor.relinquish(), isPeer: request.isToPeer))
    }

    /// The same, with an end of a pair: ``LegRequest/isForRequests``.
    public func deliver(_ end: LocalEnd, to request: LegRequest) { mailbox.put(.localLeg(request.ticket, end)) }

    /// There will be no socket for this ``LegRequest``.
    public func refuse(_ request: LegRequest) { mailbox.put(.leg(request.ticket, -1, isPeer: request.isToPeer)) }

    /// Closes all listeners, tells peers that there will be an end (RFC 9113 section 6.8), and lets open tunnels finish.
    /// Until the deadline tunnels of this node's pods are still opened: something was accepted before that needs them.
    ///
    /// - Parameters:
    ///   - milliseconds: Then what is still open is reset. A second call can only bring that forward.
    ///   - done: Called on the worker's thread when nothing is open any more.
    public func drain(milliseconds: UInt64, done: @escaping @Sendable () -> Void) {
        mailbox.put(.drain(milliseconds: milliseconds, done))
    }

    /// What the worker has counted, given on its thread.
    public func counters(_ reply: @escaping @Sendable (HBONECounters) -> Void) { mailbox.put(.count(reply)) }

    /// What the worker's sink has counted, given on its thread.
    public func metrics(_ reply: @escaping @Sendable (MetricsSnapshot?) -> Void) { mailbox.put(.metrics(reply)) }

    /// Ends ``run()``; everything open is reset.
    public func stop() { mailbox.put(.stop) }
}
