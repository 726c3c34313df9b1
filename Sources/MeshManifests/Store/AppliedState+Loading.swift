// SPDX-License-Identifier: Apache-2.0

import Glibc
import MeshModel

extension AppliedState {
    /// With or without a proxy: what is not in force today is kept for the day it is.
    static let kinds = ObjectKind.enforced.union(ObjectKind.routing)

    /// Completes the generation that was being made durable when the agent died, or forgets it if the machine's power
    /// failed with it: nobody was told of it.
    private func recoverStaged() throws(StateFileError) {
        let names = try history.names()
        for staged in names where staged.hasSuffix(DurableDirectory.stagedEnding) {
            let name = String(staged.dropLast(DurableDirectory.stagedEnding.count))
            // What cannot be read is moved away with the other damage.
            guard let bytes = try? history.read(staged) else { continue }
            if !names.contains(name), StateFile.decode(bytes) != nil {
                try history.publish(name)
            } else {
                try history.remove(staged)
            }
        }
    }

    private mutating func loadHistory(_ loaded: inout Loaded) throws(StateFileError) {
        try recoverStaged()
        for name in try history.names() {
            guard let content = try whole(name, in: history, &loaded) else { continue }
            if let generation = StateGeneration(json: content), Self.historyName(generation.number) == name {
                generations.append(generation)
            } else {
                try quarantine(name, in: history, "it is not a generation", &loaded)
            }
        }
        // Numbers are not used twice, also if the newest generation is damaged.
        let damaged = try quarantine.names().compactMap { UInt64($0.prefix { $0.isNumber }) }
        generation = max(generations.last?.number ?? 0, damaged.max() ?? 0)
        // What is older than a missing generation would undo its changes, if it were repeated.
        var first = generations.count
        var expected = generation
        while first > 0, generations[first - 1].number == expected {
            first -= 1
            expected -= 1
        }
        for old in generations[..<first] { try history.remove(Self.historyName(old.number)) }
        generations.removeFirst(first)
    }

    mutating func load(_ loaded: inout Loaded) throws(StateFileError) {
        try loadHistory(&loaded)
        let decoder = ManifestDecoder(unknownKinds: .refuse, kinds: Self.kinds)
        var onDisk: [ObjectReference: String] = [:]
        var decoded: [ObjectReference: DecodedManifest] = [:]
        // A file that a kept generation has written may be torn after a crash. The generation has its text.
        let repeated = Dictionary(
            generations.flatMap { $0.changes.map { (StateFile.name($0.reference), $0.reference) } },
            uniquingKeysWith: { first, _ in first })
        for name in try applied.names() {
            if let reference = repeated[name], StateFile.decode((try? applied.read(name)) ?? []) == nil {
                behind.insert(reference)
                continue
            }
            guard let content = try whole(name, in: applied, &loaded) else { continue }
            let manifest = decode(content, name, decoder)
            if let reference = Self.onlyReference(of: manifest), StateFile.name(reference) == name {
                onDisk[reference] = content
                decoded[reference] = manifest
            } else {
                try quarantine(name, in: applied, "it does not hold the object of its name", &loaded)
            }
        }
        texts = onDisk
        for generation in generations {
            for change in generation.changes { texts[change.reference] = change.after }
        }
        behind.formUnion(Set(texts.keys).union(onDisk.keys).filter { texts[$0] != onDisk[$0] })
        try catchUp()

        for (reference, text) in texts.sorted(by: { $0.key < $1.key }) {
            let isDecoded = onDisk[reference] == text
            let manifest = isDecoded ? decoded[reference] : nil
            loaded.applied.append(manifest ?? decode(text, StateFile.name(reference), decoder))
        }
        try loadLastGood(&loaded)
    }

    private func decode(_ text: String, _ name: String, _ decoder: ManifestDecoder) -> DecodedManifest {
        // The checksum's line comes first in the file, so lines are counted from the second.
        decoder.decode(Array("\n\(text)".utf8), file: "\(applied.path)/\(name)")
    }

    private static func onlyReference(of manifest: DecodedManifest) -> ObjectReference? {
        let references = manifest.objects.map(\.reference) + manifest.rejected.map(\.reference)
        return references.count == 1 ? references[0] : nil
    }

    /// The content of a file; `nil` if it is damaged, which is reported and moved away.
    func whole(
        _ name: String, in directory: DurableDirectory, _ loaded: inout Loaded
    ) throws(StateFileError) -> String? {
        do {
            if let content = StateFile.decode(try directory.read(name)) { return content }
            try quarantine(name, in: directory, "its checksum is wrong", &loaded)
        } catch  where [EISDIR, EINVAL, EIO, ELOOP].contains(error.code) {
            try quarantine(name, in: directory, error.cause, &loaded)
        }
        return nil
    }

    func quarantine(
        _ name: String, in directory: DurableDirectory, _ reason: String, _ loaded: inout Loaded
    ) throws(StateFileError) {
        // Numbered, so that a second damaged file of the same name does not replace the first.
        let taken = Set(try quarantine.names())
        var number = 1
        while taken.contains("\(name).\(number)") { number += 1 }
        try directory.move(name, to: quarantine, as: "\(name).\(number)")
        loaded.damage.append(
            ManifestError(
                file: "\(directory.path)/\(name)", reason: "the file is damaged: \(reason)",
                remedy: "it was moved to \(quarantine.path)/\(name).\(number); check what is applied"))
    }
}
