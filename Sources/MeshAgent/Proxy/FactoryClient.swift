// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import MeshVersion
import ProxyProtocol

/// The agent's end of the link to its socket factory: each request gets one answer, whatever becomes of the factory.
final class FactoryClient {
    /// A socket and the port it is bound to; no socket where none was asked for.
    struct Answer {
        let socket: SharedDescriptor?
        let port: UInt16
    }

    typealias Completion = (Result<Answer, SocketRefusal>) -> Void

    private var link: Link<FactoryAnswer, FactoryRequest>?
    private var pending: [UInt64: Completion] = [:]
    private var last: UInt64 = 0
    /// Requests that may be open at once.
    let mostRequests: Int
    private let onReady: () -> Void
    private let onClosed: (String) -> Void

    /// - Parameters:
    ///   - onReady: the factory has said hello.
    ///   - onClosed: it has gone; every request that was open has been refused before.
    init(
        on loop: EventLoop, _ socket: consuming PacketSocket, limits: LinkLimits = LinkLimits(),
        onReady: @escaping () -> Void, onClosed: @escaping (String) -> Void
    ) throws(SystemError) {
        mostRequests = limits.pendingRequests
        self.onReady = onReady
        self.onClosed = onClosed
        link = try Link(
            on: loop, socket, as: Hello(.agent, program: SockmeshVersion.current), expecting: .factory, limits: limits
        ) { [weak self] in self?.handle($0) }
    }

    var openRequests: Int { pending.count }

    func addWorkload(netns: UInt64, _ namespace: SharedDescriptor, _ completion: @escaping Completion) {
        request([namespace], completion) { .addWorkload(number: $0, netns: netns) }
    }

    func removeWorkload(netns: UInt64) {
        // Whatever it answers, there is nothing to be done.
        let ignore: Completion = { _ in }
        request([], ignore) { .removeWorkload(number: $0, netns: netns) }
    }

    func makeListener(_ key: ListenerKey, backlog: UInt32, _ completion: @escaping Completion) {
        request([], completion) { .listener(number: $0, key, backlog: backlog) }
    }

    func makeLeg(netns: UInt64, source: SocketEndpoint, _ completion: @escaping Completion) {
        request([], completion) { .leg(number: $0, netns: netns, source: source.address) }
    }

    /// Refuses at once if there is no factory, or if it has too much to do.
    private func request(
        _ descriptors: [SharedDescriptor], _ completion: @escaping Completion, _ make: (UInt64) -> FactoryRequest
    ) {
        guard let link, link.isOpen else {
            return completion(.failure(SocketRefusal(errnoCode: UInt16(ENOTCONN), "there is no socket factory now")))
        }
        guard pending.count < mostRequests else {
            return completion(
                .failure(
                    SocketRefusal(errnoCode: UInt16(EBUSY), "the socket factory has \(mostRequests) requests to answer")
                ))
        }
        last += 1
        pending[last] = completion
        link.send(make(last), descriptors)
    }

    private func handle(_ event: Link<FactoryAnswer, FactoryRequest>.Event) {
        switch event {
        case .opened: onReady()
        case .message(let answer, let descriptors):
            guard let completion = pending.removeValue(forKey: answer.number) else {
                link?.close("an answer to request \(answer.number), which is not open")
                return
            }
            switch answer {
            case .done: completion(.success(Answer(socket: nil, port: 0)))
            case .socket(_, let port): completion(.success(Answer(socket: descriptors[0], port: port)))
            case .refused(_, let refusal): completion(.failure(refusal))
            }
        case .closed(let reason):
            link = nil
            let open = pending.sorted { $0.key < $1.key }.map(\.value)
            pending = [:]
            for completion in open {
                completion(.failure(SocketRefusal(errnoCode: UInt16(ECONNRESET), "the socket factory has ended")))
            }
            onClosed(reason)
        }
    }
}
