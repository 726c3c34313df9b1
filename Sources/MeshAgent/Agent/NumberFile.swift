// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import LinuxIO
import MeshAdmin
import MeshModel

/// What the agent must find again after a restart so that the kernel's tables need not change: the numbers of
/// identities and services, and which generation was which.
struct NumberFile {
    /// A generation that the kernel enforced.
    struct Generation: Codable, Equatable {
        var generation: UInt32
        var time: Timestamp
        var cause: String
        var changes: [PolicyChange]
        /// The generation of applied objects that was in force with it, ``AppliedState/generation``.
        var applied: UInt64
    }

    private struct Content: Codable {
        struct Registry: Codable {
            var next: UInt32
            var numbers: [String: UInt32]
        }

        var version = 1
        var identities: Registry
        var services: Registry
        /// Absent in files of versions without routes.
        var routeClasses: Registry?
        var generations: [Generation]
    }

    /// Generations that are remembered. Arbitrary, but not less than can be rolled back to.
    private static let keptGenerations = 200

    /// The text of a part of the file, made again only if the part has changed: there may be many thousand numbers, and
    /// each change of policy writes the file.
    private struct Encoded {
        var revision: UInt64
        var text: Data
    }

    private let path: String
    private var encodedIdentities: Encoded?
    private var encodedServices: Encoded?
    private var encodedRouteClasses: Encoded?
    private var encodedGenerations: [UInt32: Data] = [:]
    /// As they were read; those in use are the compiler's.
    private(set) var identities = NumberRegistry()
    private(set) var services = NumberRegistry(first: 1)
    private(set) var routeClasses = NumberRegistry(first: 1)
    /// Oldest first.
    private(set) var generations: [Generation] = []

    /// Reads what an earlier agent has left in the state directory.
    ///
    /// A file that is damaged or from the future is no reason not to start: then all numbers are new, which makes a
    /// new generation with the same verdicts.
    ///
    /// - Parameter problem: called with what was wrong with the file.
    init(stateDirectory: String, problem: (String) -> Void) {
        path = "\(stateDirectory)/numbers.json"
        guard access(path, F_OK) == 0 else { return }
        do {
            let bytes = try SmallFile.read(path, limit: 256 << 20)
            let content = try JSONDecoder().decode(Content.self, from: Data(bytes))
            guard content.version == 1 else {
                problem("\(path) has version \(content.version), which this agent does not know; numbers begin anew")
                return
            }
            identities = Self.registry(content.identities, first: identities.nextNumber)
            services = Self.registry(content.services, first: services.nextNumber)
            if let stored = content.routeClasses {
                routeClasses = Self.registry(stored, first: routeClasses.nextNumber)
            }
            generations = content.generations
        } catch {
            problem("\(path) cannot be read: \(error); numbers begin anew")
        }
    }

    private static func registry(_ stored: Content.Registry, first: UInt32) -> NumberRegistry {
        NumberRegistry(
            entries: stored.numbers.map { .init(key: $0.key, number: $0.value) }, nextNumber: stored.next, first: first)
    }

    /// Notes a generation; the last one is replaced if the number is the same.
    mutating func append(_ generation: Generation) {
        if generations.last?.generation == generation.generation { generations.removeLast() }
        generations.append(generation)
        encodedGenerations[generation.generation] = nil
        let surplus = max(0, generations.count - Self.keptGenerations)
        for old in generations.prefix(surplus) { encodedGenerations[old.generation] = nil }
        generations.removeFirst(surplus)
    }

    /// The generation in force now goes with a later generation of applied objects, whose verdicts are the same.
    mutating func setApplied(_ applied: UInt64) {
        guard !generations.isEmpty else { return }
        generations[generations.count - 1].applied = applied
        encodedGenerations[generations[generations.count - 1].generation] = nil
    }

    /// Writes everything, in one step. Not synced: it must survive the process, and after a crash of the machine the
    /// kernel's tables are gone too.
    mutating func save(
        identities: NumberRegistry, services: NumberRegistry, routeClasses: NumberRegistry
    ) throws {
        let data = try text(identities, services, routeClasses)
        let temporary = "\(path).new"
        do {
            let file = try OwnedDescriptor(open: temporary, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
            var bytes = Array(data)[...]
            while !bytes.isEmpty {
                let raw = file.rawValue
                let written = try SystemError.check("write", temporary) {
                    bytes.withUnsafeBytes { write(raw, $0.baseAddress, $0.count) }
                }
                bytes = bytes.dropFirst(written)
            }
        }
        try SystemError.check("rename", path) { rename(temporary, path) }
    }

    /// ``Content`` as JSON, joined from its parts.
    private mutating func text(
        _ identities: NumberRegistry, _ services: NumberRegistry, _ routeClasses: NumberRegistry
    ) throws -> Data {
        try Self.encode(identities, &encodedIdentities)
        try Self.encode(services, &encodedServices)
        try Self.encode(routeClasses, &encodedRouteClasses)
        let encoder = JSONEncoder()
        for generation in generations where encodedGenerations[generation.generation] == nil {
            encodedGenerations[generation.generation] = try encoder.encode(generation)
        }
        var text = Data(#"{"version":1,"identities":"#.utf8)
        text += encodedIdentities?.text ?? Data()
        text += Data(#","services":"#.utf8)
        text += encodedServices?.text ?? Data()
        text += Data(#","routeClasses":"#.utf8)
        text += encodedRouteClasses?.text ?? Data()
        text += Data(#","generations":["#.utf8)
        text += Data(generations.compactMap { encodedGenerations[$0.generation] }.joined(separator: Data(",".utf8)))
        text += Data("]}".utf8)
        return text
    }

    private static func encode(_ registry: NumberRegistry, _ encoded: inout Encoded?) throws {
        if let encoded, encoded.revision == registry.revision { return }
        let numbers = Dictionary(
            registry.entries.map { ($0.key, $0.number) }, uniquingKeysWith: { first, _ in first })
        let content = Content.Registry(next: registry.nextNumber, numbers: numbers)
        encoded = Encoded(revision: registry.revision, text: try JSONEncoder().encode(content))
    }
}
