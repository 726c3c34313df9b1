// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
public import Logging
import MeshAdmin

/// Writes one line per event to standard error, for people or for machines.
public struct StandardErrorLog: LogHandler {
    public var logLevel: Logger.Level
    public var metadata: Logger.Metadata = [:]
    private let format: AgentConfiguration.LogFormat

    /// - Parameter format: `text` for a terminal, `json` for a collector.
    public init(format: AgentConfiguration.LogFormat, level: AgentConfiguration.LogLevel) {
        self.format = format
        logLevel = Logger.Level(rawValue: level.rawValue) ?? .info
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        let fields = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        var line: String
        switch format {
        case .text:
            line = "\(Timestamp.now) \(event.level.rawValue) \(event.message)"
            for (key, value) in fields { line += " \(key)=\(Self.quoted("\(value)"))" }
        case .json:
            line =
                "{\"time\":\"\(Timestamp.now)\",\"level\":\"\(event.level.rawValue)\",\"message\":\(Self.json("\(event.message)"))"
            for (key, value) in fields { line += ",\(Self.json(key)):\(Self.json("\(value)"))" }
            line += "}"
        }
        line += "\n"
        // One write, so that lines of several processes on one pipe do not mix.
        var bytes = Array(line.utf8)
        bytes.withUnsafeMutableBytes { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    /// Quoted only if it is not one word; control characters never reach the terminal.
    private static func quoted(_ text: String) -> String {
        let isWord = !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 < 0x7f }
        return isWord ? text : json(text)
    }

    private static func json(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case _ where scalar.value < 0x20 || scalar.value == 0x7f:
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
