// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Runs programs for tests.
enum Shell {
    /// - Parameter command: absolute path and arguments.
    /// - Returns: exit status, and what it wrote to standard output and standard error.
    static func run(_ command: String...) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }
}
