// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import ProxyProtocol

/// The requests for sockets that an agent has not answered yet.
struct LegRequests {
    typealias Completion = (Result<SharedDescriptor, SocketRefusal>) -> Void

    private var pending: [UInt64: Completion] = [:]
    private var last: UInt64 = 0
    private let limit: Int

    init(limit: Int = LinkLimits().pendingRequests) { self.limit = limit }

    var count: Int { pending.count }

    /// A number for a new request; `nil` if too many are open: the engine asks faster than the node can answer.
    mutating func add(_ completion: @escaping Completion) -> UInt64? {
        guard pending.count < limit else { return nil }
        last += 1
        pending[last] = completion
        return last
    }

    /// - Returns: whom to tell; `nil` for an answer that nobody waits for.
    mutating func finish(_ number: UInt64) -> Completion? { pending.removeValue(forKey: number) }

    /// All that were open, in order.
    mutating func removeAll() -> [Completion] {
        defer { pending = [:] }
        return pending.sorted { $0.key < $1.key }.map(\.value)
    }

    static func refusal(_ code: CInt, _ reason: String) -> SocketRefusal {
        SocketRefusal(errnoCode: UInt16(code), "no socket to the destination: \(reason)")
    }
}
