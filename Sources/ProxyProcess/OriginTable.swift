// SPDX-License-Identifier: Apache-2.0

import L7Proxy
public import LinuxIO
import ProxyProtocol
import Synchronization

/// Asks where an accepted connection came from. Called on the threads of workers; it must not block.
public typealias OriginReader = @Sendable (_ accepted: CInt) throws(SystemError) -> KernelOrigin

/// Answers the workers' question for a connection's origin: by what the kernel says, for the pod of the listener.
final class OriginTable: Sendable {
    private let pods = Mutex<[UInt64: UInt64]>([:])
    private let reader: OriginReader
    private let complaints: Complaints

    init(_ reader: @escaping OriginReader, _ complaints: Complaints) {
        self.reader = reader
        self.complaints = complaints
    }

    /// - Parameter tag: with which the listener is given to the workers.
    func add(_ key: ListenerKey, tag: UInt64) { pods.withLock { $0[tag] = key.netns } }

    /// For when no worker accepts from the listener any more.
    func remove(tag: UInt64) { pods.withLock { $0[tag] = nil } }

    /// - Returns: `nil` if the connection must not be served.
    func origin(of socket: AcceptedSocket) -> ConnectionOrigin? {
        do throws(SystemError) {
            let origin = try reader(socket.descriptor)
            let pod = pods.withLock { $0[socket.listener] }
            guard let pod, origin.netns == pod else {
                complaints.add(
                    .origin,
                    "connection from \(socket.client):\(socket.clientPort) reset: it was accepted in namespace "
                        + "\(origin.netns), and its listener is of \(pod.map { "namespace \($0)" } ?? "no pod now")")
                return nil
            }
            return origin.forEngine
        } catch {
            complaints.add(
                .origin,
                "connection from \(socket.client):\(socket.clientPort) reset: where it came from is not known: \(error)"
            )
            return nil
        }
    }
}
