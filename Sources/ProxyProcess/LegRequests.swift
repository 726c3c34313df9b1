// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import ProxyProtocol

/// The requests for sockets that no agent has answered yet.
struct LegRequests {
    typealias Completion = (Result<SharedDescriptor, SocketRefusal>) -> Void

    private var pending: [UInt64: (request: LegRequest, completion: Completion)] = [:]
    private var last: UInt64 = 0
    private let limit: Int

    init(limit: Int = LinkLimits().pendingRequests) { self.limit = limit }

    var count: Int { pending.count }

    /// Those that are open, in order: what an agent that is new must be asked.
    var requests: [LegRequest] { pending.sorted { $0.key < $1.key }.map(\.value.request) }

    /// - Parameter make: the request with its number.
    /// - Returns: a new request; `nil` if too many are open: the engine asks faster than the node can answer.
    mutating func add(_ completion: @escaping Completion, _ make: (UInt64) -> LegRequest) -> LegRequest? {
        guard pending.count < limit else { return nil }
        last += 1
        let request = make(last)
        pending[last] = (request, completion)
        return request
    }

    /// - Returns: whom to tell; `nil` for an answer that nobody waits for.
    mutating func finish(_ number: UInt64) -> Completion? { pending.removeValue(forKey: number)?.completion }

    /// All that were open, in order.
    mutating func removeAll() -> [Completion] {
        defer { pending = [:] }
        return pending.sorted { $0.key < $1.key }.map(\.value.completion)
    }

    static func refusal(_ code: CInt, _ reason: String) -> SocketRefusal {
        SocketRefusal(errnoCode: UInt16(code), "no socket to the destination: \(reason)")
    }
}
