// SPDX-License-Identifier: Apache-2.0

import CLinux
public import Glibc

/// A process that is watched and signalled by a descriptor, which can never mean another one (pidfd_open(2)).
public struct ChildProcess: ~Copyable {
    private let pidfd: OwnedDescriptor
    /// In the PID namespace of the caller; 0 if it is not visible there.
    public let pid: pid_t

    /// Readable when the process has ended.
    public var descriptor: CInt { pidfd.rawValue }

    /// Starts a program; a child of the caller, which must have one thread.
    ///
    /// - Parameters:
    ///   - arguments: without the program's own name.
    ///   - environment: `NAME=value`.
    ///   - inherited: open in the child under the same numbers, besides standard input, output and error.
    ///   - cgroup: where it starts; `nil`: where the caller is.
    /// - Throws: ``SystemError`` naming `path`: of clone3(2), or of execve(2) as the child met it.
    public init(
        starting path: String, arguments: [String], environment: [String] = [], inherited: [SharedDescriptor] = [],
        in cgroup: Cgroup? = nil
    ) throws(SystemError) {
        let directory = try cgroup?.openShared()
        defer { withExtendedLifetime((directory, inherited)) {} }
        let raws = inherited.map(\.rawValue)
        var pidfd: CInt = -1
        let pid = try Self.withStrings([path] + arguments) { (arguments) throws(SystemError) in
            try Self.withStrings(environment) { (environment) throws(SystemError) in
                // Not to be repeated on EINTR: it is the child's or clone3's, neither of which gives it.
                try SystemError.check("execve", path) {
                    clinux_spawn(
                        path, arguments, environment, raws, CInt(raws.count), directory?.rawValue ?? -1, &pidfd)
                }
            }
        }
        self.pid = pid
        self.pidfd = OwnedDescriptor(adopting: pidfd)
    }

    /// A process that somebody else started.
    ///
    /// - Throws: ``SystemError``; ESRCH if it has ended.
    public init(attachingTo pid: pid_t) throws(SystemError) {
        pidfd = OwnedDescriptor(
            adopting: try SystemError.check("pidfd_open", "process \(pid)") { clinux_pidfd_open(pid) })
        self.pid = pid
    }

    /// The process that has connected a UNIX socket, whoever has its number since. It may be one that the caller can
    /// watch and not signal: in another PID namespace.
    ///
    /// - Parameter pid: as the socket's credentials say.
    /// - Throws: ``SystemError``; ENOPROTOOPT before Linux 6.5, ESRCH if it has ended.
    public init(peerOf socket: CInt, pid: pid_t) throws(SystemError) {
        pidfd = OwnedDescriptor(
            adopting: try SystemError.check("getsockopt(SO_PEERPIDFD)") { clinux_peer_pidfd(socket) })
        self.pid = pid
    }

    /// Sends a signal.
    ///
    /// - Returns: whether it could be sent, or the process has ended.
    @discardableResult
    public func signal(_ number: CInt) -> Bool {
        clinux_pidfd_signal(pidfd.rawValue, number) == 0 || errno == ESRCH || hasEnded
    }

    private var hasEnded: Bool { (try? pollForInput(descriptor, atMost: .zero)) ?? false }

    /// Kills it, and blocks until it has ended.
    ///
    /// - Returns: whether it has within `limit`. It is not waited for where it cannot be signalled.
    public func kill(waitingAtMost limit: Duration) -> Bool {
        guard signal(SIGKILL) else { return false }
        return (try? pollForInput(descriptor, atMost: limit)) ?? false
    }

    /// How it ended: the exit code, or 128 and the number of the signal that killed it, as a shell says it. `nil` if it
    /// has not ended, or is not ours to ask.
    public func reap() -> CInt? {
        var status: CInt = 0
        return clinux_pidfd_reap(pidfd.rawValue, &status) == 1 ? status : nil
    }

    /// Lends a list of C strings that ends with nil.
    private static func withStrings<Value>(
        _ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) throws(SystemError) -> Value
    ) throws(SystemError) -> Value {
        var list: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) }
        list.append(nil)
        defer { for text in list { free(text) } }
        return try body(list)
    }
}

extension Cgroup {
    fileprivate func openShared() throws(SystemError) -> SharedDescriptor { SharedDescriptor(try open()) }
}
