// SPDX-License-Identifier: Apache-2.0

import CMeshABI
import Glibc
public import LinuxIO

/// Tries the fast path on this kernel before any pod's bytes take it.
///
/// Kernels differ in what they do with redirected data (docs/compatibility.md), and
/// distributions patch them: only trying it tells. Runs in a cgroup and in namespaces of its own.
public struct SelfTest: ~Copyable {
    private let arena: TestArena
    private var checks: [SelfTestReport.Check] = []

    /// Runs all checks; takes less than a second and leaves nothing behind.
    ///
    /// A test that cannot run, for example without privileges, is a report with the failed check `setup`.
    ///
    /// - Parameters:
    ///   - file: the object that the node runs; a second instance of it is loaded.
    ///   - parent: a cgroup of the node's; the test makes one below it and removes it.
    public static func run(object file: consuming BPFObjectFile, below parent: Cgroup) -> SelfTestReport {
        let start = ContinuousClock.now
        let cgroup = Cgroup(path: "\(parent.path)/\(cgroupPrefix)\(getpid())")
        var checks: [SelfTestReport.Check] = []
        do throws(BPFError) {
            try BPFError.telling { () throws(SystemError) in
                try removeStale(below: parent)
                try cgroup.create()
            }
            checks = try SelfTest(arena: TestArena(object: file, cgroup: cgroup)).runAll()
        } catch {
            checks = [
                SelfTestReport.Check(
                    name: "setup", title: "the test can be set up", gate: .enabled, passed: false,
                    detail: error.description)
            ]
        }
        // Nothing refers to it but a helper that may not be reaped yet; the next run removes a stale one.
        try? cgroup.remove()
        return SelfTestReport(checks: checks, duration: ContinuousClock.now - start)
    }

    private static let cgroupPrefix = "selftest-"

    /// Cgroups of tests whose process was killed.
    private static func removeStale(below parent: Cgroup) throws(SystemError) {
        guard parent.exists else { return }
        for child in try parent.children() {
            guard let name = child.path.split(separator: "/").last, name.hasPrefix(cgroupPrefix),
                let pid = pid_t(name.dropFirst(cgroupPrefix.count)), kill(pid, 0) != 0, errno == ESRCH
            else { continue }
            try child.remove()
        }
    }

    private init(arena: consuming TestArena) {
        self.arena = arena
    }

    private consuming func runAll() -> [SelfTestReport.Check] {
        check("redirect", "bytes between two pods of this node are redirected, in order", .enabled) {
            arena throws(BPFError) in
            try Self.redirect(arena)
        }
        check("order-deferred-accept", "order is kept where the first bytes went by TCP", .enabled) {
            arena throws(BPFError) in
            try Self.deferredAccept(arena)
        }
        check("order-downgrade", "order is kept when a redirected direction goes to TCP", .enabled) {
            arena throws(BPFError) in
            try Self.downgrade(arena)
        }
        check("epipe", "a send after shutdown fails with EPIPE", .enabled) { arena throws(BPFError) in
            try Self.brokenPipe(arena)
        }
        check("memory", "redirected bytes are charged to the receiver", .enabled) { arena throws(BPFError) in
            try Self.memory(arena)
        }
        check("fionread-redirected", "FIONREAD counts redirected bytes", .auto) { arena throws(BPFError) in
            try Self.pendingRedirected(arena)
        }
        check("fionread-tcp", "FIONREAD counts bytes that went by TCP after a downgrade", .auto) {
            arena throws(BPFError) in
            try Self.pendingByTCP(arena)
        }
        check("fionread-deferred", "FIONREAD counts bytes that came before the socket joined", .auto) {
            arena throws(BPFError) in
            try Self.pendingDeferred(arena)
        }
        let tracing = KernelFeatures.tracing()
        checks.append(
            SelfTestReport.Check(
                name: "tripwires", title: "tracing programs can watch for calls that redirection cannot honour",
                gate: .auto, passed: tracing.isPresent, detail: tracing.detail))
        return checks
    }

    /// A body returns what it saw if that is wrong, nil if all is well.
    private mutating func check(
        _ name: String, _ title: String, _ gate: SelfTestReport.Gate,
        _ body: (borrowing TestArena) throws(BPFError) -> String?
    ) {
        var seen: String?
        do throws(BPFError) { seen = try body(arena) } catch { seen = error.description }
        checks.append(
            SelfTestReport.Check(name: name, title: title, gate: gate, passed: seen == nil, detail: seen ?? ""))
    }
}

extension SelfTest {
    private static func redirect(_ arena: borrowing TestArena) throws(BPFError) -> String? {
        let connection = try connect(arena)
        guard connection.trickle("01234", .toServer) else { return "a send failed" }
        let request = connection.receive(5, .toServer)
        guard request == "01234" else { return "sent 01234, received \(request)" }
        guard connection.trickle("56789", .toClient) else { return "a send of the server failed" }
        let answer = connection.receive(5, .toClient)
        guard answer == "56789" else { return "sent 56789, received \(answer)" }
        for direction in [TestConnection.Direction.toServer, .toClient] {
            guard let taken = try arena.path(connection, direction) else { return "the connection has no record" }
            guard taken.path == MESH_PATH_REDIRECT else {
                return "the bytes went by TCP, for reason \(taken.reason) of enum mesh_reason"
            }
        }
        connection.shutdownWriting(.toServer)
        return connection.isAtEnd(.toServer) ? nil : "the end of the stream did not arrive"
    }

    private static func deferredAccept(_ arena: borrowing TestArena) throws(BPFError) -> String? {
        var isSent = false
        let connection = try connect(arena, deferringAccept: true) { client in
            isSent = "01234".utf8.allSatisfy { byte in
                withUnsafePointer(to: byte) { send(client, $0, 1, CInt(MSG_NOSIGNAL)) == 1 }
            }
        }
        guard isSent else { return "a send failed" }
        let received = connection.receive(5, .toServer)
        return received == "01234" ? nil : "sent 01234, received \(received)"
    }

    private static func downgrade(_ arena: borrowing TestArena) throws(BPFError) -> String? {
        let connection = try connect(arena)
        let sent = connection.trickle("01234", .toServer)
        try arena.stopRedirecting()
        let sentMore = connection.trickle("56789", .toServer)
        try arena.startRedirecting()
        guard sent, sentMore else { return "a send failed" }
        let received = connection.receive(10, .toServer)
        return received == "0123456789" ? nil : "sent 0123456789, received \(received)"
    }

    private static func brokenPipe(_ arena: borrowing TestArena) throws(BPFError) -> String? {
        let connection = try connect(arena)
        guard connection.send([0x78], .toServer) == 1 else { return "a send failed" }
        connection.shutdownWriting(.toServer)
        let result = connection.send([0x79], .toServer)
        guard result == -Int(EPIPE) else {
            return result > 0 ? "the send succeeded" : "the send failed with \(SystemError.message(of: CInt(-result)))"
        }
        let received = connection.receive(2, .toServer)
        return received == "x" ? nil : "sent x before the shutdown, received \(received)"
    }

    private static func memory(_ arena: borrowing TestArena) throws(BPFError) -> String? {
        let connection = try connect(arena)
        let size = 4096
        guard connection.send([UInt8](repeating: 0, count: size), .toServer) == size else { return "a send failed" }
        let charged = connection.chargedAtServer()
        return charged >= size
            ? nil : "\(size) bytes were queued, \(charged) were charged: a pod could take memory without limit"
    }

    private static func pendingRedirected(_ arena: borrowing TestArena) throws(BPFError) -> String? {
        try pending(on: connect(arena))
    }

    private static func pendingByTCP(_ arena: borrowing TestArena) throws(BPFError) -> String? {
        try arena.stopRedirecting()
        // A failed connect must not leave the slot empty for the checks that follow.
        let seen: String?
        do throws(BPFError) {
            seen = try pending(on: connect(arena))
        } catch {
            try arena.startRedirecting()
            throw error
        }
        try arena.startRedirecting()
        return seen
    }

    private static func pendingDeferred(_ arena: borrowing TestArena) throws(BPFError) -> String? {
        let connection = try connect(arena, deferringAccept: true) { client in
            _ = send(client, "x", 1, CInt(MSG_NOSIGNAL))
        }
        let readable = connection.readableAtServer()
        return readable == 1 ? nil : "1 byte was queued, FIONREAD said \(readable)"
    }

    private static func pending(on connection: consuming TestConnection) -> String? {
        let size = 100
        guard connection.send([UInt8](repeating: 0, count: size), .toServer) == size else { return "a send failed" }
        let readable = connection.readableAtServer()
        return readable == size ? nil : "\(size) bytes were queued, FIONREAD said \(readable)"
    }

    private static func connect(
        _ arena: borrowing TestArena, deferringAccept: Bool = false, beforeAccept: (CInt) -> Void = { _ in }
    ) throws(BPFError) -> TestConnection {
        try BPFError.telling { () throws(SystemError) in
            let listener = try arena.listen(deferringAccept: deferringAccept)
            return try arena.connect(listener, beforeAccept: beforeAccept)
        }
    }
}
