// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import LinuxIO
import MeshVersion
import SocketFactory

/// The socket factory, which the agent starts from its own executable; not for people.
struct FactoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "factory", abstract: "Makes sockets inside pods for the agent that has started it.",
        shouldDisplay: false)

    @Option(help: "Descriptor of the socket to the agent.")
    var fd: Int32

    func run() throws {
        do throws(SystemError) {
            guard fcntl(fd, F_GETFD) >= 0 else {
                throw SystemError("fcntl", "--fd \(fd)", errnoCode: errno, hint: "only mesh-agent starts this")
            }
            try Confinement.closeDescriptors(except: [fd])
            let socket = SharedDescriptor(adopting: fd)
            let factory = try SocketFactory(PacketSocket(socket), program: SockmeshVersion.current)
            if let reason = try factory.run() { Self.log("link to the agent closed: \(reason)") }
        } catch {
            Self.log("\(error)")
            throw ExitCode.failure
        }
    }

    private static func log(_ message: String) {
        let line = Array("socket factory[\(getpid())]: \(message)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }
}
