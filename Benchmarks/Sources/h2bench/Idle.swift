// SPDX-License-Identifier: Apache-2.0

import Glibc
import L7Proxy

/// What a server's session keeps while nothing happens, after one request.
enum Idle {
    /// Makes `count` sessions of one pool, which are asked once each, and measures what they have made the process grow by.
    static func measure(_ count: Int) {
        let serverPool = HTTP2MemoryPool()
        let clientPool = HTTP2MemoryPool()
        var servers: [HTTP2ServerSession] = []
        servers.reserveCapacity(count)
        // The first fills what is shared.
        servers.append(asked(serverPool, clientPool))
        let before = (mallinfo2().uordblks + mallinfo2().hblkhd, resident())
        for _ in 1..<count { servers.append(asked(serverPool, clientPool)) }
        let after = (mallinfo2().uordblks + mallinfo2().hblkhd, resident())
        print(
            "\((after.0 - before.0) / (count - 1)) bytes allocated, \((after.1 - before.1) / (count - 1)) resident, "
                + "for each of \(servers.count) idle sessions")
    }

    private static func asked(_ serverPool: HTTP2MemoryPool, _ clientPool: HTTP2MemoryPool) -> HTTP2ServerSession {
        do {
            let server = try HTTP2ServerSession(pool: serverPool, now: 0)
            let exchange = Exchange(
                client: try HTTP2ClientSession(pool: clientPool, now: 0), server: server, streams: 1, responseBytes: 61)
            exchange.round()
            return server
        } catch {
            preconditionFailure("\(error)")
        }
    }

    /// Bytes of the process that are in memory.
    private static func resident() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
        let words = String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
        return (words.count > 1 ? Int(words[1]) ?? 0 : 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}
