// SPDX-License-Identifier: Apache-2.0

public import MeshModel

extension AppliedState {
    /// Remembers the good objects of the configuration directory, for the next start.
    ///
    /// Only what differs from the last call is written.
    ///
    /// - Throws: ``StateFileError``; the next call tries again.
    mutating func remember(_ objects: [ManifestObject]) throws(StateFileError) {
        guard let (work, texts) = beginRemembering(objects) else { return }
        try endRemembering(texts, work.perform())
    }

    /// Begins what ``remember(_:)`` does.
    ///
    /// - Returns: what waits for the disk, and what ``endRemembering(_:_:)`` wants beside what it gives; nothing else is
    ///   remembered until then. `nil` if nothing differs.
    public func beginRemembering(_ objects: [ManifestObject]) -> (work: DiskWork, texts: [ObjectReference: String])? {
        let wanted = Dictionary(
            objects.map { ($0.reference, Self.encode($0)) }, uniquingKeysWith: { first, _ in first })
        let changed = wanted.filter { lastGoodTexts[$0.key] != $0.value }.sorted { $0.key < $1.key }
        let gone = lastGoodTexts.keys.filter { wanted[$0] == nil }.sorted()
        guard !changed.isEmpty || !gone.isEmpty else { return nil }
        let lastGood = lastGood
        let work = DiskWork { () throws(StateFileError) in
            try lastGood.replace(
                changed.map { (StateFile.name($0.key), StateFile.encode($0.value)) }, removing: gone.map(StateFile.name)
            )
        }
        return (work, wanted)
    }

    public mutating func endRemembering(
        _ texts: [ObjectReference: String], _ outcome: DiskWork.Outcome
    ) throws(StateFileError) {
        try outcome.get()
        lastGoodTexts = texts
    }

    func loadLastGood(from directory: DurableDirectory, _ loaded: inout Loaded) throws(StateFileError) {
        for name in try directory.names() {
            guard let content = try whole(name, in: directory, &loaded) else { continue }
            guard let object = Self.decodeLastGood(content), StateFile.name(object.reference) == name else {
                // Not damaged: perhaps written by a version that took what this one refuses.
                try quarantine(name, in: directory, "it does not hold a valid object of its name", &loaded)
                continue
            }
            loaded.lastGood.append(object)
        }
    }

    mutating func loadLastGood(_ loaded: inout Loaded) throws(StateFileError) {
        try loadLastGood(from: lastGood, &loaded)
        lastGoodTexts = Dictionary(
            loaded.lastGood.map { ($0.reference, Self.encode($0)) }, uniquingKeysWith: { first, _ in first })
    }

    /// The origin on a line of its own, then the text.
    private static func encode(_ object: ManifestObject) -> String {
        "# from \(object.origin.line) \(NodeWriter.quoted(object.origin.file))\n\(object.text)"
    }

    private static func decodeLastGood(_ content: String) -> ManifestObject? {
        guard let end = content.utf8.firstIndex(of: UInt8(ascii: "\n")), content.hasPrefix("# from ") else {
            return nil
        }
        let header = content[..<end].split(separator: " ", maxSplits: 3)
        guard header.count == 4, let line = Int(header[2]),
            let file = try? YAMLReader.read(YAMLDocument(text: String(header[3])))?.string
        else { return nil }
        let text = String(content[content.utf8.index(after: end)...])
        let manifest = ManifestDecoder(unknownKinds: .refuse, kinds: Self.kinds).decode(Array(text.utf8), file: file)
        guard manifest.errors.isEmpty, manifest.objects.count == 1, let object = manifest.objects.first else {
            return nil
        }
        return object.moved(to: ObjectOrigin(file: file, document: 0, line: line))
    }
}

extension ManifestObject {
    /// The same object, said to be from elsewhere.
    public func moved(to origin: ObjectOrigin) -> ManifestObject {
        ManifestObject(object: object.moved(to: origin), text: text, warnings: warnings)
    }
}

extension MeshObject {
    fileprivate func moved(to origin: ObjectOrigin) -> MeshObject {
        switch self {
        case .namespace(var value):
            value.metadata.origin = origin
            return .namespace(value)
        case .pod(var value):
            value.metadata.origin = origin
            return .pod(value)
        case .service(var value):
            value.metadata.origin = origin
            return .service(value)
        case .endpointSlice(var value):
            value.metadata.origin = origin
            return .endpointSlice(value)
        case .node(var value):
            value.metadata.origin = origin
            return .node(value)
        case .networkPolicy(var value):
            value.metadata.origin = origin
            return .networkPolicy(value)
        case .authorizationPolicy(var value):
            value.metadata.origin = origin
            return .authorizationPolicy(value)
        case .peerAuthentication(var value):
            value.metadata.origin = origin
            return .peerAuthentication(value)
        case .route(.route(.http(var value))):
            value.metadata.origin = origin
            return .route(.route(.http(value)))
        case .route(.route(.grpc(var value))):
            value.metadata.origin = origin
            return .route(.route(.grpc(value)))
        case .route(.referenceGrant(var value)):
            value.metadata.origin = origin
            return .route(.referenceGrant(value))
        case .meshPolicy(var value):
            value.metadata.origin = origin
            return .meshPolicy(value)
        }
    }
}
