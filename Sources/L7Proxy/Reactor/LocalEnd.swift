// SPDX-License-Identifier: Apache-2.0

public import LinuxIO
import Synchronization

/// What an end of a pair tells the other one that a Unix socket cannot: that its close was a reset.
final class LocalMark: Sendable {
    private let mark = Atomic(false)

    var isReset: Bool { mark.load(ordering: .acquiring) }

    /// Called before the descriptor is closed.
    func reset() { mark.store(true, ordering: .releasing) }
}

/// One end of a pair of sockets, by which a worker hands a connection on to another one of the process.
///
/// Whoever is given it owns the descriptor.
public struct LocalEnd: Sendable {
    let descriptor: CInt
    let mark: LocalMark

    /// - Throws: ``SystemError``; EMFILE if the process may have no more descriptors.
    public static func pair() throws(SystemError) -> (LocalEnd, LocalEnd) {
        let (one, other) = try StreamSocket.pair()
        let mark = LocalMark()
        return (LocalEnd(descriptor: one, mark: mark), LocalEnd(descriptor: other, mark: mark))
    }

    /// Closes an end that nobody uses: the other one meets a reset.
    public func discard() {
        mark.reset()
        StreamSocket.close(descriptor)
    }
}
