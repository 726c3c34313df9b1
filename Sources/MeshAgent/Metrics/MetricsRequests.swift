// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import ProxyProtocol

/// Questions to the proxy for its metrics. It writes each answer into a file in memory that it is given.
final class MetricsRequests {
    /// Bytes of a page; more is none.
    static let limit = 64 << 20
    /// How long a proxy may take.
    static let time = Duration.seconds(5)
    private static let mostOpen = 16

    private struct Question {
        let file: SharedDescriptor
        let completion: ([UInt8]?) -> Void
    }

    private let loop: EventLoop
    private var open: [UInt32: Question] = [:]
    private var last: UInt32 = 0

    init(on loop: EventLoop) { self.loop = loop }

    /// Asks the proxy.
    ///
    /// - Parameter completion: called once, from the loop: with the page, or `nil` if there is none.
    func ask(_ link: ProxyConnection.AgentLink?, _ completion: @escaping ([UInt8]?) -> Void) {
        guard let link, open.count < Self.mostOpen, let file = try? MemoryFile.make("sockmesh-metrics") else {
            return loop.enqueue { completion(nil) }
        }
        last &+= 1
        let number = last
        open[number] = Question(file: file, completion: completion)
        link.send(.metricsRequest(number), [file])
        loop.schedule(after: Self.time) { [weak self] in self?.open.removeValue(forKey: number)?.completion(nil) }
    }

    /// The page is written.
    func finish(_ number: UInt32) {
        guard let question = open.removeValue(forKey: number) else { return }
        question.completion(try? MemoryFile.read(question.file, atMost: Self.limit))
    }
}

extension ProxySupervisor {
    /// The metrics of the proxy that serves.
    func askMetrics(_ completion: @escaping ([UInt8]?) -> Void) {
        metrics.ask(supervision.current.flatMap { proxies[$0]?.link }, completion)
    }
}
