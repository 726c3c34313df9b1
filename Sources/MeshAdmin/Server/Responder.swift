// SPDX-License-Identifier: Apache-2.0

/// The answer to one call, given bit by bit: items, then exactly one ``finish(whenSent:)`` or ``fail(_:)``.
///
/// Belongs to the thread of the event loop. Once the client has gone, or the answer has ended, everything is ignored.
public final class Responder<Item: Codable & Equatable & Sendable> {
    private weak var session: AdminSession?
    private let id: UInt64

    /// Called once if the client goes away before the answer has ended.
    public var onCancel: (() -> Void)?

    init(_ session: AdminSession, id: UInt64) {
        self.session = session
        self.id = id
    }

    /// Sends an item. Of a client that does not read, items beyond ``AdminLimits/outbound`` are dropped and counted.
    public func send(_ item: Item) {
        live?.push(ResponseFrame(id: id, item: item))
    }

    /// Says what happens, for a person who waits. Dropped if the client does not read.
    public func progress(_ text: String) {
        live?.push(ResponseFrame<Item>(id: id, progress: text))
    }

    /// Ends the answer.
    ///
    /// - Parameter whenSent: called when the last byte was given to the kernel, or the client went away.
    public func finish(whenSent: (() -> Void)? = nil) {
        guard let live else {
            whenSent?()
            return
        }
        live.end(nil, whenSent: whenSent)
    }

    /// Sends the only item and ends the answer.
    public func succeed(_ item: Item) {
        send(item)
        finish()
    }

    /// Sends a list, which the client pulls so that nothing of it is lost, and ends the answer with it.
    public func list(_ items: some Sequence<Item>) { live?.list(items, id: id) }

    /// Ends the answer with an error.
    public func fail(_ error: AdminError) {
        live?.end(error, whenSent: nil)
    }

    /// The client has gone, or the answer has ended.
    public var isDone: Bool { live == nil }

    private var live: AdminSession? {
        guard let session, session.isAnswering(id) else { return nil }
        return session
    }
}
