// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import MeshAdmin
import MeshModel

/// Why an agent does not start with what it was told.
public struct ConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
    /// One flag that is wrong.
    public struct Problem: Equatable, Sendable, CustomStringConvertible {
        public var flag: String
        public var message: String
        /// What to do about it.
        public var hint: String

        public var description: String { "\(flag): \(message) (\(hint))" }
    }

    /// Why one value was refused.
    struct Rejection: Error {
        let message: String
        let hint: String

        init(_ message: String, _ hint: String) {
            self.message = message
            self.hint = hint
        }
    }

    public var problems: [Problem]

    public var description: String { problems.map(\.description).joined(separator: "\n") }
}

extension AgentConfiguration {
    /// The name of a node is a Kubernetes name, because pods carry it in `spec.nodeName`; it is also a file name.
    static func nodeName(_ given: String?, hostname: String) throws(ConfigurationError.Rejection) -> String {
        let name = given ?? hostname.lowercased()
        let letters = Set("abcdefghijklmnopqrstuvwxyz0123456789")
        let isName =
            (1...253).contains(name.utf8.count)
            && name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
                guard let first = label.first, let last = label.last else { return false }
                return letters.contains(first) && letters.contains(last)
                    && label.allSatisfy { letters.contains($0) || $0 == "-" }
            }
        guard isName else {
            let source = given == nil ? "the host name" : "it"
            throw .init(
                "'\(name)' is not a node name: \(source) must be lower-case letters, digits, '-' and '.', "
                    + "each part starting and ending with a letter or digit",
                "give the name that pods have in spec.nodeName")
        }
        return name
    }

    /// A cgroup below the mount of cgroup v2. Not the mount itself: the mesh would hook every process of the machine.
    static func cgroup(
        _ given: String?, node: String, mount: String?
    ) throws(ConfigurationError.Rejection) -> String {
        guard let mount else {
            throw .init(
                "no cgroup v2 hierarchy is mounted", "mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
        }
        guard let given else { return absolute("sockmesh/\(node)", in: mount) }
        guard given != mount, given.hasPrefix(mount == "/" ? "/" : mount + "/") else {
            throw .init(
                given == mount
                    ? "\(given) is the root of the hierarchy, which holds every process of the machine"
                    : "\(given) is not in the cgroup v2 hierarchy, which is mounted on \(mount)",
                "choose a cgroup below \(mount), for example \(absolute("sockmesh/\(node)", in: mount))")
        }
        return given
    }

    static func check(_ options: ProxyOptions, of proxy: ProxyChoice) throws(ConfigurationError.Rejection) {
        if let lack = proxy.lack, options != ProxyOptions() {
            throw .init("\(lack.reason), and it is for one", "\(lack.remedy), or leave the flags of the proxy out")
        }
        guard options.workers.map((1...128).contains) ?? true else {
            throw .init("\(options.workers ?? 0) is no number of threads", "choose 1 to 128")
        }
    }

    /// An address with a port, to listen on.
    static func endpoint(_ text: String) throws(ConfigurationError.Rejection) -> StreamEndpoint {
        let rejection = ConfigurationError.Rejection(
            "'\(text)' is no address with a port", "write 127.0.0.1:15020, or [::1]:15020")
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw rejection
        }
        var host = text[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        if isBracketed { host = host.dropFirst().dropLast() }
        guard let address = IPAddress(String(host)), address.isIPv4 != isBracketed else { throw rejection }
        return StreamEndpoint(high: address.high, low: address.low, port: port)
    }

    /// The group that was named; the usual one where nothing was said and it exists; else none.
    static func group(
        _ given: String?, usual: String, on machine: Machine
    ) throws(ConfigurationError.Rejection) -> AdminGroup? {
        guard let given else { return machine.groupNumber(usual).map { AdminGroup(name: usual, number: $0) } }
        if let number = machine.groupNumber(given) { return AdminGroup(name: given, number: number) }
        if let number = UInt32(given) { return AdminGroup(name: given, number: number) }
        throw .init("there is no group '\(given)'", "create it (groupadd \(given)), or name another")
    }

    /// The path from the root, without empty, `.` and `..` parts. Symbolic links are left alone.
    static func absolute(_ path: String, in directory: String) -> String {
        var parts: [Substring] = []
        for part in (path.hasPrefix("/") ? path : "\(directory)/\(path)").split(separator: "/") {
            switch part {
            case ".": continue
            case "..": _ = parts.popLast()
            default: parts.append(part)
            }
        }
        return "/" + parts.joined(separator: "/")
    }
}
