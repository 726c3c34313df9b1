// SPDX-License-Identifier: Apache-2.0

import Identity

/// What libFuzzer calls with each input: a SPIFFE ID.
///
/// Beyond not crashing: what is accepted is written as it was read, but for the case of its scheme, and obeys the
/// standard's rules as a slower reader checks them.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzIdentity(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: start, count: count))
    do {
        let id = try input.withUnsafeBytes { try SPIFFEID(bytes: $0) }
        let text = Array(id.description.utf8)
        precondition(text.count == input.count && text.dropFirst(6) == input.dropFirst(6), "written otherwise: \(id)")
        precondition(isValid(String(decoding: input, as: UTF8.self)), "accepted against the rules: \(id)")
        if let workload = id.workload {
            let again = try? SPIFFEID(
                id.trustDomain, namespace: String(workload.namespace), serviceAccount: String(workload.serviceAccount))
            precondition(again == id, "the parts do not make the whole: \(id)")
        }
    } catch let error as SPIFFEIDError {
        precondition(error.offset >= 0 && error.offset <= count, "an offset outside: \(error)")
        precondition(!isValid(String(decoding: input, as: UTF8.self)), "refused against the rules: \(error)")
    } catch {
        preconditionFailure("\(error)")
    }
    return 0
}

private func isValid(_ text: String) -> Bool {
    guard text.utf8.count <= 2048, text.lowercased().hasPrefix("spiffe://"), text.utf8.allSatisfy({ $0 < 128 }) else {
        return false
    }
    let parts = text.dropFirst(9).split(separator: "/", omittingEmptySubsequences: false)
    let lower = "abcdefghijklmnopqrstuvwxyz0123456789.-_"
    guard let domain = parts.first, !domain.isEmpty, domain.utf8.count <= 255,
        domain.utf8.allSatisfy({ lower.utf8.contains($0) })
    else { return false }
    let all = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return parts.dropFirst().allSatisfy { segment in
        !segment.isEmpty && segment != "." && segment != ".." && segment.utf8.allSatisfy { all.utf8.contains($0) }
    }
}
