// SPDX-License-Identifier: Apache-2.0

/// How a proxy has ended that nobody wanted to end.
final class ProxyEnd: CustomStringConvertible {
    /// What was noticed first.
    private let how: String
    /// How its process has ended, where that was seen later.
    private var status: String?

    init(_ how: String) { self.how = how }

    /// A link may be closed before its process has ended, which says more.
    func watch(_ process: WatchedProcess?) {
        process?.whenEnded { [self] status in
            // The one was us, the other is known.
            if status != WatchedProcess.killed, status != how { self.status = status }
        }
    }

    var description: String { status.map { "\($0), after its connection to the agent had ended: \(how)" } ?? how }
}
