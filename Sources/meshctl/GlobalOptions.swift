// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import MeshAdmin
import MeshVersion

/// Which agent to talk to.
struct AgentAddress: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("Socket of the agent.", valueName: "path"))
    var socket: String?

    @Option(name: .long, help: ArgumentHelp("Node whose agent is meant: /run/sockmesh/NODE.sock.", valueName: "name"))
    var node: String?

    func validate() throws {
        if socket != nil, node != nil {
            throw ValidationError("--socket and --node name the same thing in two ways; give one of them.")
        }
    }

    /// The socket that is meant.
    var path: String {
        if let socket { return socket }
        if let node { return SocketFiles.path(node: node) }
        return SocketFiles.usual(hostname: Self.hostname)
    }

    func connect() throws(AdminError) -> AdminClient {
        try AdminClient(path: path, name: "meshctl \(SockmeshVersion.current)")
    }

    static var hostname: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

/// How to print the answer.
struct OutputOptions: ParsableArguments {
    @Option(name: [.customShort("o"), .long], help: "Form of the answer: table, json or yaml.")
    var output = OutputFormat.table
}

enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table
    case json
    case yaml
}

/// Lets global options stand before the command, where the argument parser does not look for options of a command.
enum GlobalOptionWords {
    private static let names: Set<String> = ["--socket", "--node", "--output", "-o"]

    /// Moves the global options that stand before the last word of the command to just after it.
    ///
    /// `--socket S policy apply -f x` becomes `policy apply --socket S -f x`. Anything else stays where it is, so that
    /// the parser reports what it does not understand.
    static func afterCommand(_ words: [String], root: any ParsableCommand.Type) -> [String] {
        var command: any ParsableCommand.Type = root
        var path: [String] = []
        var options: [String] = []
        var index = 0
        while index < words.count {
            let word = words[index]
            if let child = command.configuration.subcommands.first(where: { $0.configuration.commandName == word }) {
                command = child
                path.append(word)
                index += 1
            } else if command.configuration.subcommands.isEmpty {
                break
            } else if names.contains(word), index + 1 < words.count {
                options += words[index...(index + 1)]
                index += 2
            } else if names.contains(where: { word.hasPrefix("\($0)=") }) {
                options.append(word)
                index += 1
            } else {
                break
            }
        }
        return path + options + words[index...]
    }
}
