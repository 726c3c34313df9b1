// SPDX-License-Identifier: Apache-2.0

import Glibc
public import LinuxIO
import ProxyProtocol

/// The process that makes sockets for a proxy: answers its agent's requests, one after another, until the agent ends.
///
/// Holds nothing that matters: killed at any moment, it is started again, and sockets that were handed over live on.
public final class SocketFactory {
    private let loop: EventLoop
    private var maker = SocketMaker()
    private var link: Link<FactoryRequest, FactoryAnswer>?
    private var failure: String?

    /// - Parameter socket: to the agent.
    public init(_ socket: consuming PacketSocket, program: String) throws(SystemError) {
        loop = try EventLoop()
        link = try Link(
            on: loop, socket, as: Hello(.factory, program: program), expecting: .agent
        ) { [unowned self] in handle($0) }
    }

    /// Serves until the agent closes the link.
    ///
    /// - Returns: why it closed, if not because the agent has ended.
    public func run() throws(SystemError) -> String? {
        // A terminal's Ctrl-C goes to the agent too, which closes the link.
        try loop.watchSignals([SIGINT]) { _ in }
        try loop.run()
        return failure
    }

    private func handle(_ event: Link<FactoryRequest, FactoryAnswer>.Event) {
        switch event {
        case .opened: break
        case .message(let request, let descriptors): answer(request, descriptors)
        case .closed(let reason):
            failure = reason == "the peer has closed" ? nil : reason
            loop.stop()
        }
    }

    private func answer(_ request: FactoryRequest, _ descriptors: [SharedDescriptor]) {
        let number = request.number
        do throws(SystemError) {
            switch request {
            case .addWorkload(_, let netns):
                try maker.add(descriptors[0], netns: netns)
                link?.send(.done(number: number))
            case .removeWorkload(_, let netns):
                maker.remove(netns: netns)
                link?.send(.done(number: number))
            case .listener(_, let key, let backlog): send(try maker.listener(key, backlog: backlog), number)
            case .leg(_, let netns, let source): send(try maker.leg(netns: netns, source: source), number)
            }
        } catch {
            link?.send(
                .refused(number: number, SocketRefusal(errnoCode: UInt16(clamping: error.errnoCode), "\(error)")))
        }
    }

    private func send(_ made: SocketMaker.Made, _ number: UInt64) {
        link?.send(.socket(number: number, port: made.port), [made.socket])
    }
}

@available(*, unavailable)
extension SocketFactory: Sendable {}
