// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import L7Proxy
import LinuxIO
import MeshVersion
import ProxyProcess
import ProxyProtocol
import TLSEngine

/// The command line of the proxy: words become options, and the process becomes a powerless one.
@main
struct MeshProxyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mesh-proxy",
        abstract: "Serves the connections of this node's pods that need more than the kernel.",
        discussion: """
            Started by mesh-agent, or by a container runtime with --agent-socket. Gives up every privilege before it reads \
            a byte: own user, no capability, few system calls. SIGTERM drains; a second one does not wait.
            """,
        version: SockmeshVersion.current)

    @Option(help: ArgumentHelp("Descriptor of a socket to the agent that started this process.", visibility: .hidden))
    var fd: Int32?

    @Option(
        help: ArgumentHelp(
            "Socket on which agents wait for their proxy; also where the next agent is looked for when one ends.",
            valueName: "path"))
    var agentSocket: String?

    @Option(help: "Number of the user to run as; needs root at the start. (default: 65532 if started by root)")
    var user: UInt32?

    @Option(help: "Number of the group. (default: as --user)")
    var group: UInt32?

    @Option(help: "Most descriptors: connections, sockets to backends, listeners.")
    var maxDescriptors: UInt64 = 65536

    @Option(help: "Seconds that open connections get to end after SIGTERM.")
    var drainSeconds: UInt32 = 30

    @Option(help: "Threads that serve connections. (default: one for two processors)")
    var workers: Int?

    @Option(help: "A line for each request on standard error: off, text or json.")
    var accessLog = AccessLogChoice.json

    @Option(help: "What encrypts records of mutual TLS: auto, the fastest that this machine has, or openssl.")
    var recordCiphers = RecordCiphersChoice.auto

    func validate() throws {
        guard workers.map((1...128).contains) ?? true else { throw ValidationError("--workers must be 1 to 128.") }
        guard fd != nil || agentSocket != nil else {
            throw ValidationError("There is no agent to serve for; give --agent-socket.")
        }
        guard user != 0, group != 0 else {
            throw ValidationError("mesh-proxy does not run as root; give --user and --group another number than 0.")
        }
        guard maxDescriptors >= 64 else { throw ValidationError("--max-descriptors must be 64 at least.") }
    }

    /// Exit status 2 for words that are wrong, as the other programs.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch  where exitCode(for: error) == .validationFailure {
            Self.log(fullMessage(for: error))
            Glibc.exit(2)
        } catch {
            exit(withError: error)
        }
    }

    func run() throws {
        do throws(SystemError) {
            // Asked before the confinement, which lets no file be opened.
            let workers = workers ?? max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN)) / 2)
            // Opened before the confinement, which closes what it does not know.
            let loop = try EventLoop()
            let socket = try fd.map { (fd: CInt) throws(SystemError) in
                guard fcntl(fd, F_GETFD) >= 0 else {
                    throw SystemError("fcntl", "--fd \(fd)", errnoCode: errno, hint: "no open descriptor")
                }
                return SharedDescriptor(adopting: fd)
            }
            let locksKeys = try prepareTLS() == .locked
            let account = user.map { ProxyConfinement.Account(user: $0, group: group ?? $0) }
            let confinement = ProxyConfinement(
                account: account ?? (geteuid() == 0 ? .usual : nil), descriptors: maxDescriptors)
            try confinement.apply(keeping: loop.descriptors + (socket.map { [$0.rawValue] } ?? []))
            let options = HTTPEngine.Options(
                workers: workers, accessLog: accessLog.form, accessLogDescriptor: STDERR_FILENO)
            let host = try ProxyHost(
                on: loop,
                ProxyHost.Options(
                    program: SockmeshVersion.current, agentSocket: agentSocket, drainTime: .seconds(drainSeconds),
                    locksKeys: locksKeys),
                log: Self.log
            ) { (loop, legs) throws(SystemError) in
                try HTTPEngine(on: loop, legs: legs, options, log: Self.log)
            }
            if let socket { try host.run(PacketSocket(socket)) } else { try host.run(nil) }
        } catch {
            Self.log("cannot start: \(error)")
            throw ExitCode.failure
        }
    }

    /// What is read of files, and memory for keys: neither can be had after the confinement.
    private func prepareTLS() throws(SystemError) -> TLSLibrary.KeyMemory {
        do throws(TLSError) {
            try TLSLibrary.prepare()
            switch recordCiphers {
            case .auto: Self.log(TLSLibrary.widen().description)
            case .openssl: Self.log("AES-GCM records by OpenSSL: so it was told")
            }
            return try TLSLibrary.keepKeysApart()
        } catch {
            throw SystemError("load OpenSSL", errnoCode: EINVAL, hint: "\(error)")
        }
    }

    /// One line on standard error, which is the agent's.
    static func log(_ message: String) {
        let line = Array("mesh-proxy[\(getpid())]: \(message)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }
}

/// Words of `--record-ciphers`.
enum RecordCiphersChoice: String, CaseIterable, ExpressibleByArgument {
    case auto, openssl
}

/// Words of `--access-log`.
enum AccessLogChoice: String, ExpressibleByArgument {
    case off, text, json

    var form: AccessLogWriter.Form? {
        switch self {
        case .off: nil
        case .text: .text
        case .json: .json
        }
    }
}
