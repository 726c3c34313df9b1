// SPDX-License-Identifier: Apache-2.0

import MeshManifests
import MeshModel

/// Small limits, so that the fuzzer reaches them.
private let decoder = ManifestDecoder(
    unknownKinds: .refuse, limits: YAMLLimits(fileBytes: 1 << 16, documentBytes: 1 << 14, nodes: 2000, depth: 20))

/// What libFuzzer calls with each input.
///
/// Beyond not crashing and not hanging, what was decoded must keep the promises that the agent relies on.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzManifests(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let manifest = decoder.decode(Array(UnsafeBufferPointer(start: bytes, count: count)), file: "input")
    for object in manifest.objects { requireDurable(object) }
    for object in manifest.rejected { requireExplained(object) }
    for finding in manifest.findings { requireUseful(finding) }
    return 0
}

/// The text of an accepted object is what the agent stores as its last good version: read alone, it must give that
/// object again.
private func requireDurable(_ object: ManifestObject) {
    let again = decoder.decode(Array(object.text.utf8), file: "stored")
    precondition(
        again.errors.isEmpty && again.objects.map(\.reference) == [object.reference],
        "the stored text of \(object.reference) does not give it again: \(again.errors)\n\(object.text)")
}

/// A refusal says why, and where.
private func requireExplained(_ object: RejectedObject) {
    precondition(
        object.errors.contains { $0.severity == .error }, "\(object.reference) is refused without an error")
    for error in object.errors { requireUseful(error) }
}

private func requireUseful(_ finding: ManifestError) {
    precondition(!finding.reason.isEmpty && finding.line >= 0, "an empty finding: \(finding)")
}
