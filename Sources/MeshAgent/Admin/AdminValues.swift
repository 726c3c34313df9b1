// SPDX-License-Identifier: Apache-2.0
import MeshAdmin
import MeshManifests
import MeshModel

// The model's and the manifests' values in the form of the admin protocol.

extension PolicyReference {
    init(_ reference: ObjectReference) {
        self.init(kind: reference.kind, namespace: reference.namespace, name: reference.name)
    }
}

extension MeshAdmin.Finding {
    init(_ error: ManifestError) {
        self.init(
            error.severity == .error ? .error : .warning, error.reason, file: error.file.isEmpty ? nil : error.file,
            line: error.line > 0 ? error.line : nil, object: error.object.isEmpty ? nil : error.object,
            field: error.field.isEmpty ? nil : error.field, hint: error.remedy.isEmpty ? nil : error.remedy)
    }

    /// What a policy says that this node does not enforce.
    init(_ finding: MeshModel.Finding, origin: ObjectOrigin?) {
        self.init(
            .warning, finding.message, file: origin?.file, line: origin.map(\.line),
            object: finding.policy.description, field: finding.path)
    }
}

extension ExplainReport.Verdict {
    init(_ verdict: PolicyVerdict) {
        switch verdict {
        case .allow: self = .allow
        case .deny: self = .deny
        case .needsProxy: self = .needsL7
        }
    }
}
