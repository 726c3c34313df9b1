// SPDX-License-Identifier: Apache-2.0

/// Collects everything that is wrong with one object, so that a user corrects it in one round.
///
/// Used by one decoding call on one thread and then dropped.
final class ProblemSink {
    /// Enough for any honest mistake; a hostile document does not fill the memory.
    static let limit = 100

    private(set) var problems: [ManifestError] = []
    private let file: String
    /// Set once the kind and the name are known, so that every later problem names the object.
    var object = ""
    private(set) var hasErrors = false

    init(file: String) {
        self.file = file
    }

    func report(
        _ severity: ManifestError.Severity = .error, at position: ManifestNode.Position, field: FieldPath,
        _ reason: String, remedy: String = ""
    ) {
        if severity == .error { hasErrors = true }
        guard problems.count < Self.limit else { return }
        problems.append(
            ManifestError(
                severity: severity, file: file, line: Int(position.line), column: Int(position.column),
                object: object, field: field.description, reason: reason, remedy: remedy))
    }
}
