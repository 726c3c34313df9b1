// SPDX-License-Identifier: Apache-2.0
import MeshAdmin
import MeshManifests
import MeshModel

/// Answers the `policy` calls but `explain`.
struct PolicyCalls {
    private let state: MeshState
    private let began: ContinuousClock.Instant

    /// - Parameter began: when the request had been read.
    init(_ state: MeshState, since began: ContinuousClock.Instant = .now) {
        self.state = state
        self.began = began
    }

    // MARK: - Reading

    func reports(_ request: PoliciesRequest) throws(AdminError) -> [PolicyReport] {
        let wanted = state.store.statuses.filter { status in
            let reference = status.reference
            return !status.isShadowed
                && (ObjectReference.policyKinds.contains(reference.kind) || reference.kind == request.kind)
                && request.kind.map { $0 == reference.kind } ?? true
                && request.namespace.map { $0 == reference.namespace } ?? true
                && request.name.map { $0 == reference.name } ?? true
        }
        if let name = request.name, wanted.isEmpty {
            throw AdminError(
                .notFound, "\(request.kind ?? "policy") \(request.namespace ?? "")/\(name) does not exist",
                hint: "meshctl policy get lists those that do")
        }
        let compiler = state.reconciler.compiler
        let unenforced = Dictionary(
            grouping: compiler.findings(for: Set(wanted.map(\.reference))), by: \.policy)
        return wanted.map { status in
            let errors: [ManifestError]
            let kind: PolicyReport.State
            switch status.state {
            case .inForce: (errors, kind) = ([], .enforced)
            case .lastGoodInForce(let found): (errors, kind) = (found, .lastGood)
            case .rejected(let found): (errors, kind) = (found, .invalid)
            }
            return PolicyReport(
                policy: PolicyReference(status.reference), origin: status.layer == .directory ? .directory : .applied,
                file: status.layer == .directory ? status.origin.file : nil, state: kind,
                selects: compiler.workloads(selectedBy: status.reference).map(\.description),
                findings: (errors + status.warnings).map { MeshAdmin.Finding($0) }
                    + (unenforced[status.reference] ?? []).map { MeshAdmin.Finding($0, origin: status.origin) },
                manifest: state.store.manifest(status.reference)?.text ?? "")
        }
    }

    func diff(_ request: DiffPoliciesRequest) throws(AdminError) -> PolicyDiff {
        let manifest = try decode(request.files)
        let plan: ApplyPlan
        do throws(ApplyRefusal) { plan = try state.store.plan(apply: manifest.objects) } catch {
            throw AdminError(.conflict, error.reasons.joined(separator: "; "))
        }
        var entries = zip(plan.changes, MeshState.report(plan.changes)).map { change, report in
            PolicyDiff.Entry(change: report, before: change.before?.text, after: change.after?.text)
        }
        entries += plan.unchanged.map { reference in
            let text = state.store.manifest(reference)?.text
            return .init(change: PolicyChange(PolicyReference(reference), .unchanged), before: text, after: text)
        }
        return PolicyDiff(entries: entries, findings: manifest.warnings.map { MeshAdmin.Finding($0) })
    }

    // MARK: - Changing

    func apply(_ request: ApplyPoliciesRequest, cause: String) throws(AdminError) -> PolicyChangeResult {
        let manifest = try decode(request.files)
        return try change(manifest.objects, [], cause, manifest.warnings)
    }

    func delete(_ request: DeletePolicyRequest, cause: String) throws(AdminError) -> PolicyChangeResult {
        let wanted = request.policy
        // One name may stand for objects of two groups; the applied one can be deleted.
        let matching = state.store.statuses.filter { PolicyReference($0.reference) == wanted }
        guard let reference = (matching.first { $0.layer == .applied } ?? matching.first)?.reference else {
            throw AdminError(.notFound, "\(wanted) does not exist", hint: "meshctl policy get lists those that do")
        }
        return try change([], [reference], cause, [])
    }

    func rollback(_ request: RollbackPoliciesRequest, caller: String) throws(AdminError) -> PolicyChangeResult {
        let (objects, deletions) = try state.rollback(to: request.generation)
        let target = request.generation.map { "to \($0) " } ?? ""
        return try change(objects, deletions, "rollback \(target)by \(caller)", [])
    }

    private func change(
        _ objects: [ManifestObject], _ deletions: [ObjectReference], _ cause: String, _ warnings: [ManifestError]
    ) throws(AdminError) -> PolicyChangeResult {
        let current = state.reconciler.writer.tables.generation
        let (plan, outcome) = try state.change(apply: objects, delete: deletions, cause: cause)
        let milliseconds = began.duration(to: outcome?.since ?? .now) / .milliseconds(1)
        let changed = Set(plan.changes.filter { $0.after != nil }.map(\.reference))
        let findings =
            changed.isEmpty
            ? []
            : state.reconciler.compiler.findings(for: changed).map {
                MeshAdmin.Finding($0, origin: state.store.status($0.policy)?.origin)
            }
        return PolicyChangeResult(
            changes: MeshState.report(plan.changes)
                + plan.unchanged.map { PolicyChange(PolicyReference($0), .unchanged) },
            generation: outcome?.generation ?? current, previousGeneration: outcome?.previousGeneration ?? current,
            milliseconds: milliseconds, findings: warnings.map { MeshAdmin.Finding($0) } + findings)
    }

    // MARK: - Input

    /// Reads all files, or says everything that is wrong with them.
    private func decode(_ files: [ManifestFile]) throws(AdminError) -> DecodedManifest {
        let decoder = ManifestDecoder(unknownKinds: .refuse, kinds: state.kinds)
        var manifest = DecodedManifest()
        for file in files { manifest.append(decoder.decode(Array(file.content.utf8), file: file.name)) }
        var findings = manifest.errors.map { MeshAdmin.Finding($0) }
        for object in manifest.objects where !object.object.isApplied {
            findings.append(
                MeshAdmin.Finding(
                    .error, "is neither a policy nor a route, and only these are applied", file: object.origin.file,
                    line: object.origin.line, object: object.reference.description,
                    hint: "put it into the configuration directory"))
        }
        if manifest.objects.isEmpty, findings.isEmpty {
            throw AdminError(.invalidInput, "the input holds no policy")
        }
        guard findings.isEmpty else {
            throw AdminError(
                .invalidInput, "\(findings.count) \(findings.count == 1 ? "problem" : "problems") in the input",
                hint: "nothing was applied", findings: findings)
        }
        return manifest
    }
}

extension MeshObject {
    /// Whether `meshctl policy apply` takes it.
    fileprivate var isApplied: Bool {
        switch self {
        case .route, .meshPolicy: true
        default: isPolicy
        }
    }
}

extension ObjectReference {
    /// Kinds that decide who may talk to whom.
    static let policyKinds: Set<String> = ["NetworkPolicy", "AuthorizationPolicy", "PeerAuthentication"]
}
