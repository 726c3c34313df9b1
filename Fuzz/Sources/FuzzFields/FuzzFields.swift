// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import MeshModel

/// What libFuzzer calls with each input: the first byte chooses what the rest is read as, a path or the value of a field.
///
/// Beyond not crashing: a path's normal form reads as itself and hides no dot segment, and what is
/// accepted of a field is what its grammar, written down again in a slower way, accepts.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzFields(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let input = UnsafeRawBufferPointer(start: start + 1, count: count - 1)
    switch start[0] % 4 {
    case 0: path(input)
    case 1: timeout(input)
    case 2: trace(input)
    default: traceState(input)
    }
    return 0
}

private func path(_ input: UnsafeRawBufferPointer) {
    guard let found = readings(input) else { return }
    let normal = found[0]
    if normal.first == UInt8(ascii: "/") {
        guard let again = normal.withUnsafeBytes({ readings($0) }) else {
            preconditionFailure("its own form is refused")
        }
        precondition(again[0] == normal, "read again, the form is another")
    }
    precondition(found.allSatisfy { $0.allSatisfy { $0 > 0x20 && $0 < 0x7f } }, "a byte that no path has")
    // The other reading is the one of a server that does not resolve them.
    for segment in normal.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
        precondition(!segment.elementsEqual([0x2e]) && !segment.elementsEqual([0x2e, 0x2e]), "a dot segment is left")
    }
}

/// The readings of a path, the normal form first; `nil` if it is refused.
private func readings(_ path: UnsafeRawBufferPointer) -> [[UInt8]]? {
    var scratch = [UInt8](repeating: 0, count: RequestPath.scratchSize(for: path.count))
    return scratch.withUnsafeMutableBytes { scratch in
        guard case .path(let found) = RequestPath.read(path, into: scratch) else { return nil }
        return [Array(found.normal)] + (found.other.map { [Array($0)] } ?? [])
    }
}

private func timeout(_ input: UnsafeRawBufferPointer) {
    let units: [Character: Double] = ["H": 3.6e12, "M": 6e10, "S": 1e9, "m": 1e6, "u": 1e3, "n": 1]
    let text = String(decoding: input, as: UTF8.self)
    let digits = text.dropLast()
    var expected: Double?
    if let unit = text.last.flatMap({ units[$0] }), (1...8).contains(digits.utf8.count),
        digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = Double(digits)
    {
        expected = min(number * unit, Double(Int64.max))
    }
    precondition(GRPCTimeout.nanoseconds(input).map { Double($0) } == expected, "another time: \(text)")
}

private func trace(_ input: UnsafeRawBufferPointer) {
    guard let context = TraceContext(input) else { return precondition(TraceContext.traceID(of: input) == nil) }
    var written = [UInt8](repeating: 0, count: TraceContext.length)
    written.withUnsafeMutableBytes { context.write(into: $0) }
    precondition(written.withUnsafeBytes { TraceContext($0) } == context, "written otherwise")
    // Version and flags are ours.
    precondition(written[2..<52].elementsEqual(input[2..<52]), "another trace or parent")
    precondition(TraceContext.traceID(of: input).map(Array.init) == Array(input[3..<35]), "another trace")
}

private func traceState(_ input: UnsafeRawBufferPointer) {
    var whole = TraceState()
    whole.add(input)
    // Lines that are valid one by one are valid as a list, unless there are too many members.
    let members = input.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
    let each = members.allSatisfy { member in
        var one = TraceState()
        one.add(UnsafeRawBufferPointer(rebasing: member))
        return one.isValid
    }
    let blanks: [UInt8] = [0x20, 0x09]
    let filled = members.count { member in !member.allSatisfy(blanks.contains) }
    precondition(whole.isValid == (each && filled <= TraceState.maximumMembers), "the list is read otherwise")
}
