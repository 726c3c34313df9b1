// SPDX-License-Identifier: Apache-2.0

public import LinuxIO
import Synchronization

/// Messages from any thread to one loop. A message that is put in wakes the loop; messages are taken in order.
///
/// It has no limit of its own: whoever puts in bounds what can be on its way.
public final class Mailbox<Message: Sendable>: Sendable {
    private let messages = Mutex<[Message]>([])
    private let counter: EventCounter

    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    public init() throws(SystemError) { counter = try EventCounter() }

    /// Readable while there may be messages.
    public var descriptor: CInt { counter.rawValue }

    public func put(_ message: Message) {
        let wasEmpty = messages.withLock { list in
            list.append(message)
            return list.count == 1
        }
        // The loop clears before it takes, so a message that found the list occupied is taken with the others.
        if wasEmpty { counter.signal() }
    }

    /// For the loop: all messages so far.
    public func takeAll() -> [Message] {
        counter.clear()
        return messages.withLock { list in
            let taken = list
            list = []
            return taken
        }
    }
}
