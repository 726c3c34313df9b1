// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Reads the text of a manifest: any number of documents in YAML or JSON, and Lists of objects.
public struct ManifestDecoder: Sendable {
    /// What a kind that Sockmesh does not read means.
    public enum UnknownKinds: Sendable {
        /// An error: the user asked for this object to be applied.
        case refuse
        /// A warning: a directory may also hold Deployments and ConfigMaps.
        case warn
    }

    /// What a value means that the API of a route allows and the mesh does not support.
    public enum UnsupportedValues: Sendable {
        /// An error: the user asked for something that will not happen.
        case refuse
        /// A warning; the value keeps it for the route's status. For objects that an API server has accepted.
        case record
    }

    public var unknownKinds: UnknownKinds
    /// Kinds that are read; any other is unknown. By default those on which a process acts.
    public var kinds: Set<ObjectKind>
    public var unsupportedValues: UnsupportedValues
    public var limits: YAMLLimits

    public init(
        unknownKinds: UnknownKinds, limits: YAMLLimits = .standard, kinds: Set<ObjectKind> = ObjectKind.enforced,
        unsupportedValues: UnsupportedValues = .refuse
    ) {
        self.unknownKinds = unknownKinds
        self.kinds = kinds
        self.unsupportedValues = unsupportedValues
        self.limits = limits
    }

    /// Reads everything that is readable in `bytes`, which are UTF-8.
    ///
    /// - Parameter file: the name of the input in messages.
    public func decode(_ bytes: [UInt8], file: String) -> DecodedManifest {
        var manifest = DecodedManifest()
        let documents: [YAMLDocument]
        do {
            documents = try YAMLDocument.split(bytes, limits: limits)
        } catch {
            manifest.findings.append(ManifestError(error, file: file))
            return manifest
        }
        for (index, document) in documents.enumerated() {
            do {
                guard let root = try YAMLReader.read(document, limits: limits) else { continue }
                decode(root, text: document.text, file: file, document: index, path: .root, into: &manifest)
            } catch {
                manifest.findings.append(ManifestError(error, file: file))
            }
        }
        return manifest
    }

    private func decode(
        _ root: ManifestNode, text: String, file: String, document: Int, path: FieldPath,
        into manifest: inout DecodedManifest
    ) {
        let sink = ProblemSink(file: file)
        let reader = FieldReader(node: root, path: path, sink: sink)
        guard let object = reader.object(), let kindField = object.required("kind"), let kindName = kindField.string()
        else {
            manifest.findings += sink.problems
            return
        }
        let apiVersion = object.required("apiVersion")?.string()
        if kindName == "List" || (kindName.hasSuffix("List") && object["items"]?.node.elements != nil) {
            decodeList(object, named: kindName, file: file, document: document, into: &manifest)
            return
        }
        guard let apiVersion else {
            manifest.findings += sink.problems
            return
        }
        guard let kind = self.kind(kindName), kind.apiVersions.contains(apiVersion) else {
            reportUnknown(kindName, apiVersion, kindField, object)
            manifest.findings += sink.problems
            return
        }
        let origin = ObjectOrigin(file: file, document: document, line: Int(root.position.line))
        if kind.isStrict { checkTopLevel(object, kind) }
        guard let header = ObjectHeader(object, kind: kind, apiVersion: apiVersion, origin: origin) else {
            manifest.findings += sink.problems
            return
        }
        let value = decode(header)
        let problems = sink.problems.sorted()
        if sink.hasErrors {
            manifest.rejected.append(
                RejectedObject(
                    reference: value.reference, origin: origin, errors: problems,
                    failClosed: FailClosedSelector(
                        root, kind: kind, apiVersion: header.apiVersion, metadata: header.metadata),
                    text: text))
        } else {
            manifest.append(ManifestObject(object: value, text: text, warnings: problems))
        }
    }

    /// A kind that is read.
    private func kind(_ name: String) -> ObjectKind? {
        ObjectKind(rawValue: name).flatMap { kinds.contains($0) ? $0 : nil }
    }

    private func decode(_ header: ObjectHeader) -> MeshObject {
        switch header.kind {
        case .namespace: .namespace(NamespaceDecoder.decode(header))
        case .node: .node(NodeDecoder.decode(header))
        case .pod: .pod(PodDecoder.decode(header))
        case .service: .service(ServiceDecoder.decode(header))
        case .endpointSlice: .endpointSlice(EndpointSliceDecoder.decode(header))
        case .networkPolicy: .networkPolicy(NetworkPolicyDecoder.decode(header))
        case .authorizationPolicy: .authorizationPolicy(AuthorizationPolicyDecoder.decode(header))
        case .peerAuthentication: .peerAuthentication(PeerAuthenticationDecoder.decode(header))
        case .httpRoute: .route(.route(.http(HTTPRouteDecoder.decode(header, unsupportedValues))))
        case .grpcRoute: .route(.route(.grpc(GRPCRouteDecoder.decode(header, unsupportedValues))))
        case .referenceGrant: .route(.referenceGrant(RouteReferenceDecoder.grant(header)))
        case .meshPolicy: .meshPolicy(MeshPolicyDecoder.decode(header))
        }
    }

    private func decodeList(
        _ object: ObjectReader, named kind: String, file: String, document: Int,
        into manifest: inout DecodedManifest
    ) {
        let items = object["items"]?.list(atMost: .max) ?? []
        manifest.findings += object.sink.problems
        for item in items {
            // A list in a list is what no tool writes; it would make the depth of this recursion the user's choice.
            if let kind = item.node["kind"]?.string, kind.hasSuffix("List") {
                manifest.findings.append(
                    ManifestError(
                        file: file, line: Int(item.node.position.line), column: Int(item.node.position.column),
                        field: item.path.description, reason: "a \(kind) inside a List",
                        remedy: "put its items into the outer List"))
                continue
            }
            decode(
                item.node, text: NodeWriter.yaml(item.node), file: file, document: document, path: item.path,
                into: &manifest)
        }
    }

    /// `status` is what a cluster has written; it is let through.
    private func checkTopLevel(_ object: ObjectReader, _ kind: ObjectKind) {
        let known = ["apiVersion", "kind", "metadata", "spec", "status"]
        for field in object.fields where !known.contains(field.key) {
            object.sink.report(
                at: field.keyPosition, field: object.path.key(field.key), "unknown field",
                remedy: Suggestion.remedy(for: field.key, among: known))
        }
    }

    /// A kind that is nearly one of ours, or one of ours in an unknown version, is a mistake also where unknown kinds
    /// are let through: taking it for somebody else's object would silently drop a policy.
    private func reportUnknown(_ kind: String, _ apiVersion: String, _ field: FieldReader, _ object: ObjectReader) {
        let unknown: ManifestError.Severity = unknownKinds == .refuse ? .error : .warning
        if let known = self.kind(kind) {
            // A Service of another group, Knative's for example, is somebody else's object.
            let isOurGroup = known.apiVersions.contains { Self.group(of: $0) == Self.group(of: apiVersion) }
            let versions = known.apiVersions.joined(separator: ", ")
            object["apiVersion"]?.report(
                "\(kind) of \(apiVersion.clipped) is not read", remedy: "its apiVersion is one of: \(versions)",
                severity: isOurGroup ? .error : unknown)
            return
        }
        if ObjectKind(rawValue: kind).map(ObjectKind.routing.contains) == true {
            let need = kind == ObjectKind.meshPolicy.rawValue ? "it needs" : "routes need"
            field.report(
                "the kind \"\(kind)\" is not read: \(need) the node proxy",
                remedy: "start mesh-agent with its proxy: see --proxy", severity: unknown)
            return
        }
        let kinds = ObjectKind.allCases.filter(self.kinds.contains).map(\.rawValue)
        let near = Suggestion.nearest(to: kind, among: kinds)
        let question = near.map { "did you mean \($0)? " } ?? ""
        field.report(
            "the kind \"\(kind.clipped)\" is not read",
            remedy: question + "read are: \(kinds.joined(separator: ", "))", severity: near == nil ? unknown : .error)
    }

    /// The part before the slash; empty for the core group, whose versions have none.
    private static func group(of apiVersion: String) -> Substring {
        apiVersion.split(separator: "/", omittingEmptySubsequences: false).dropLast().first ?? ""
    }
}

extension ManifestError {
    init(_ error: YAMLSyntaxError, file: String) {
        self.init(
            file: file, line: error.line, column: error.column, reason: error.reason, remedy: error.remedy)
    }
}
