// SPDX-License-Identifier: Apache-2.0

/// The command line after the mode: `--name value` pairs and `--flag`s.
///
/// Small on purpose: the tool has no dependency, so that it builds in seconds and
/// nothing but its own loop runs while it measures.
struct Options {
    private var values: [String: String] = [:]
    private var used: Set<String> = []

    /// - Throws: ``LoadError`` if an argument is not an option.
    init(_ arguments: some Sequence<String>) throws(LoadError) {
        var pending: String?
        for argument in arguments {
            if argument.hasPrefix("--") {
                if let name = pending { values[name] = "true" }
                pending = String(argument.dropFirst(2))
            } else if let name = pending {
                values[name] = argument
                pending = nil
            } else {
                throw LoadError("unexpected argument '\(argument)': options are --name value")
            }
        }
        if let name = pending { values[name] = "true" }
    }

    mutating func string(_ name: String) -> String? {
        used.insert(name)
        return values[name]
    }

    /// - Throws: ``LoadError`` if the option is absent.
    mutating func required(_ name: String) throws(LoadError) -> String {
        guard let value = string(name) else { throw LoadError("--\(name) is required") }
        return value
    }

    mutating func flag(_ name: String) -> Bool { string(name) == "true" }

    /// A count, with an optional suffix: `64K`, `3M`, `50G` are powers of 1024.
    ///
    /// - Throws: ``LoadError`` if the value is not a number or does not fit.
    mutating func integer(_ name: String, default fallback: Int) throws(LoadError) -> Int {
        guard let text = string(name) else { return fallback }
        let shift = ["K": 10, "M": 20, "G": 30][text.suffix(1).uppercased()] ?? 0
        guard let number = Int(shift == 0 ? text[...] : text.dropLast()), number >= 0, number < 1 << (62 - shift) else {
            throw LoadError("--\(name) '\(text)' is not a number such as 4096, 64K or 50G")
        }
        return number << shift
    }

    /// - Throws: ``LoadError`` if the value is not a number of seconds.
    mutating func seconds(_ name: String, default fallback: Double) throws(LoadError) -> Double {
        guard let text = string(name) else { return fallback }
        guard let number = Double(text), number > 0 else {
            throw LoadError("--\(name) '\(text)' is not a number of seconds above 0")
        }
        return number
    }

    /// Refuses what no mode has asked for, so that a misspelt option is never ignored.
    ///
    /// - Throws: ``LoadError`` that names the unknown options.
    func finish() throws(LoadError) {
        let unknown = values.keys.filter { !used.contains($0) }.sorted()
        guard unknown.isEmpty else {
            throw LoadError("unknown option --\(unknown.joined(separator: ", --"))")
        }
    }
}
