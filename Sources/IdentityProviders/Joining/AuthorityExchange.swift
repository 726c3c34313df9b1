// SPDX-License-Identifier: Apache-2.0

import Identity
import LinuxIO
import TLSEngine

/// One connection to an authority: some calls, their answers, and the end.
///
/// A connection each time is a handshake in half a minute, and in return no end has anything to look after in between:
/// what is new, a certificate or a revocation, counts with the next.
final class AuthorityExchange {
    /// From the first byte to the last.
    static let patience = Duration.seconds(15)

    /// Of all calls in order, or of the first ones: then the last answer is that these were too many at once. Or why there
    /// are not all.
    typealias Outcome = Result<[AuthorityAnswer], Failure>

    struct Failure: Error {
        let reason: String
    }

    private let channel: TLSChannel
    private let expected: Int
    private var answers: [AuthorityAnswer] = []
    private var done: ((Outcome) -> Void)?

    /// - Parameters:
    ///   - credentials: whom this end shows itself as; `nil` to join.
    ///   - done: called once, and not before this returns.
    init(
        _ calls: [AuthorityCall], to endpoint: StreamEndpoint, as credentials: X509SVID?,
        trusting bundles: TrustBundles,
        expecting authority: SPIFFEID, on loop: EventLoop, done: @escaping (Outcome) -> Void
    ) throws(Failure) {
        let socket = StreamSocket.connect(to: endpoint)
        guard socket >= 0 else {
            throw Failure(reason: "connect: \(SystemError.message(of: CInt(-socket)))")
        }
        let descriptor = OwnedDescriptor(adopting: CInt(socket))
        do throws(TLSError) {
            let context = try TLSContext(
                .client, svid: credentials, trusting: bundles, application: .authority)
            channel = TLSChannel(
                descriptor, context, expecting: .anyOf([authority]), frameLimit: AuthorityAnswer.maximumBytes, on: loop)
        } catch { throw Failure(reason: error.description) }
        expected = calls.count
        self.done = done
        channel.onOpen = { [unowned channel] in
            for call in calls { channel.send(AuthorityJSON.encode(call)) }
        }
        channel.onFrame = { [unowned self] in take($0) }
        channel.onEnd = { [unowned self] in finish($0) }
        channel.setDeadline(Self.patience, "it does not answer within \(Self.patience.components.seconds) s")
        do throws(SystemError) { try channel.start() } catch { throw Failure(reason: "\(error)") }
    }

    private func take(_ frame: [UInt8]) {
        guard let answer = AuthorityJSON.decode(AuthorityAnswer.self, frame), answers.count < expected else {
            return channel.end("its answer cannot be understood")
        }
        answers.append(answer)
        if isComplete { channel.close() }
    }

    /// Whether nothing follows.
    private var isComplete: Bool { answers.count == expected || answers.last?.isBusy ?? false }

    private func finish(_ reason: String?) {
        guard let done else { return }
        self.done = nil
        if isComplete { return done(.success(answers)) }
        done(.failure(Failure(reason: reason ?? "it has ended the connection before the answer")))
    }
}
