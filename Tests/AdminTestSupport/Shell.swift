// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Runs programs for tests.
public enum Shell {
    /// - Parameter command: absolute path and arguments.
    /// - Returns: exit status, and what it wrote to standard output and standard error.
    public static func run(_ command: String...) throws -> (status: Int32, output: String) {
        try run(command)
    }

    /// As above; `input` is what the program reads.
    public static func run(_ command: [String], input: String = "") throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        let stdin = Pipe()
        process.standardInput = stdin
        try process.run()
        // Small: fits into the pipe.
        stdin.fileHandleForWriting.write(Data(input.utf8))
        try stdin.fileHandleForWriting.close()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }
}
