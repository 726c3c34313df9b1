// SPDX-License-Identifier: Apache-2.0

/// Reads Prometheus' text format, version 0.0.4.
/// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
///
/// Timestamps are read over, and values that are no finite numbers refused: agent and proxy write neither.
public struct ExpositionReader {
    /// A line that is not of the format.
    public struct Unreadable: Error, Equatable, CustomStringConvertible {
        /// From 1.
        public let line: Int
        /// What is wrong.
        public let problem: String

        public var description: String { "line \(line) of the metrics: \(problem)" }
    }

    private static let types: Set<String> = ["counter", "gauge", "histogram", "summary", "untyped"]
    private static let suffixes = ["_bucket", "_sum", "_count"]

    private var types: [String: String] = [:]
    private var rest: Substring.UTF8View = "".utf8[...]
    private var line = 0

    private init() {}

    /// The samples of a page, in its order.
    public static func read(_ page: String) throws(Unreadable) -> [MetricSample] {
        var reader = ExpositionReader()
        var samples: [MetricSample] = []
        for line in page.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            reader.line += 1
            reader.rest = line
            if let sample = try reader.sample() { samples.append(sample) }
        }
        return samples
    }

    private func unreadable(_ problem: String) -> Unreadable { Unreadable(line: line, problem: problem) }

    /// The sample of this line; `nil` where it is empty or about others.
    private mutating func sample() throws(Unreadable) -> MetricSample? {
        skipBlanks()
        guard let first = rest.first else { return nil }
        if first == UInt8(ascii: "#") {
            try note()
            return nil
        }
        let name = try takeName(of: "a metric")
        let labels = try takeLabels()
        let words = rest.split { Self.isBlank($0) }
        guard words.count == 1 || words.count == 2 else {
            throw unreadable("\(name) has no value, or too much after it")
        }
        guard let value = Double(Substring(words[0])), value.isFinite else {
            throw unreadable("the value of \(name) is no number")
        }
        if words.count == 2, Int64(Substring(words[1])) == nil { throw unreadable("the time of \(name) is no number") }
        return MetricSample(name: name, type: type(of: name), labels: labels, value: value)
    }

    /// `# TYPE name type`; any other note is one for people.
    private mutating func note() throws(Unreadable) {
        let words = rest.dropFirst().split { Self.isBlank($0) }
        guard words.count >= 2, String(Substring(words[0])) == "TYPE" else { return }
        let name = String(Substring(words[1]))
        guard words.count == 3, Self.types.contains(String(Substring(words[2]))) else {
            throw unreadable("\(name) has no known type")
        }
        types[name] = String(Substring(words[2]))
    }

    private func type(of name: String) -> String {
        if let found = types[name] { return found }
        for suffix in Self.suffixes where name.hasSuffix(suffix) {
            if let found = types[String(name.dropLast(suffix.count))] { return found }
        }
        return "untyped"
    }

    private mutating func takeLabels() throws(Unreadable) -> [String: String] {
        var labels: [String: String] = [:]
        guard rest.first == UInt8(ascii: "{") else { return labels }
        rest = rest.dropFirst()
        while true {
            skipBlanks()
            if rest.first == UInt8(ascii: "}") { break }
            let name = try takeName(of: "a label")
            guard rest.first == UInt8(ascii: "="), rest.dropFirst().first == UInt8(ascii: "\"") else {
                throw unreadable("label \(name) has no value in quotes")
            }
            rest = rest.dropFirst(2)
            guard labels.updateValue(try takeQuoted(), forKey: name) == nil else {
                throw unreadable("label \(name) is there twice")
            }
            skipBlanks()
            if rest.first == UInt8(ascii: ",") {
                rest = rest.dropFirst()
            } else if rest.first != UInt8(ascii: "}") {
                throw unreadable("nothing parts label \(name) from what follows")
            }
        }
        rest = rest.dropFirst()
        return labels
    }

    /// Up to the closing quote, which it takes too.
    private mutating func takeQuoted() throws(Unreadable) -> String {
        var bytes: [UInt8] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"):
                switch rest.popFirst() {
                case UInt8(ascii: "n"): bytes.append(UInt8(ascii: "\n"))
                case let escaped? where escaped == UInt8(ascii: "\\") || escaped == UInt8(ascii: "\""):
                    bytes.append(escaped)
                default: throw unreadable("a backslash before what needs none")
                }
            default: bytes.append(byte)
            }
        }
        throw unreadable("a value in quotes does not end")
    }

    private mutating func takeName(of what: String) throws(Unreadable) -> String {
        let name = rest.prefix { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: ":"):
                true
            default: false
            }
        }
        guard let first = name.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            throw unreadable("the name of \(what) is missing")
        }
        rest = rest.dropFirst(name.count)
        return String(Substring(name))
    }

    private mutating func skipBlanks() { rest = rest.drop { Self.isBlank($0) } }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
}
