// SPDX-License-Identifier: Apache-2.0

import Glibc
public import LinuxIO
public import ProxyProtocol

/// Ends every connection at once with a reset.
///
/// For a build that has no engine which could read what the connections carry: a client learns at once that nobody
/// serves it, and nothing passes without its rules.
public final class RefusingEngine: ProxyEngine {
    private struct Served {
        let socket: SharedDescriptor
        let watch: EventLoop.Watch
    }

    private let loop: EventLoop
    private let log: (String) -> Void
    private var served: [ListenerKey: Served] = [:]
    public private(set) var counters = EngineCounters()

    public init(on loop: EventLoop, log: @escaping (String) -> Void) {
        self.loop = loop
        self.log = log
    }

    public func apply(_ configuration: ProxyConfiguration) throws(EngineRefusal) {}

    public func serve(_ listener: Listener, _ socket: SharedDescriptor) {
        stopServing(listener.key)
        do throws(SystemError) {
            let watch = try loop.watch(socket.rawValue, for: .readable) { [unowned self] _ in refuse(listener.key) }
            served[listener.key] = Served(socket: socket, watch: watch)
        } catch {
            log("\(listener.key) is not served: \(error)")
        }
    }

    public func stopServing(_ key: ListenerKey) {
        if let old = served.removeValue(forKey: key) { loop.unwatch(old.watch) }
    }

    public func drain(within deadline: Duration, _ done: @escaping () -> Void) {
        for key in served.keys { stopServing(key) }
        loop.enqueue(done)
    }

    private func refuse(_ key: ListenerKey) {
        do throws(SystemError) {
            // Some, so that one listener does not keep the loop.
            for _ in 0..<64 {
                guard let socket = served[key]?.socket, let connection = try InetSocket.accept(socket) else { return }
                counters.accepted += 1
                counters.refused += 1
                InetSocket.reset(connection)
            }
        } catch {
            log("\(key): \(error)")
        }
    }
}
