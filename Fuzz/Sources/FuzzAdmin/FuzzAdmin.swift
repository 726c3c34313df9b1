// SPDX-License-Identifier: Apache-2.0

@testable import MeshAdmin

/// What libFuzzer calls with each input: the first byte chooses what the rest is read as.
///
/// Beyond not crashing: lines come out alike however their bytes come in, none is longer than its limit, a call that is
/// understood is the same after it was written and read again, and so are metrics.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAdmin(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    switch start[0] % 3 {
    case 0: metrics(input)
    case 1: lines(input)
    default: call(input)
    }
    return 0
}

private func metrics(_ input: [UInt8]) {
    let page = String(decoding: input, as: UTF8.self)
    precondition(
        MetricsPart.parts(of: Array(page.utf8), size: 16).map(\.text).joined() == page, "parts are not the whole")
    guard let samples = try? ExpositionReader.read(page) else { return }
    for sample in samples {
        precondition(!sample.name.isEmpty && sample.value.isFinite, "a sample that cannot be: \(sample)")
        let labels = sample.labels.map { name, value in "\(name)=\"\(escaped(value))\"" }
        let again = try? ExpositionReader.read("\(sample.name){\(labels.joined(separator: ","))} \(sample.value)")
        precondition(
            again?.first?.labels == sample.labels && again?.first?.value == sample.value, "read otherwise: \(sample)")
    }
}

/// Scalar by scalar: a character of Swift's may hide a quote.
private func escaped(_ value: String) -> String {
    value.unicodeScalars.map { scalar in
        switch scalar {
        case "\\": "\\\\"
        case "\"": "\\\""
        case "\n": "\\n"
        default: String(scalar)
        }
    }.joined()
}

private func lines(_ input: [UInt8]) {
    let limit = 64
    func read(_ pieces: [[UInt8]]) -> ([[UInt8]], Bool) {
        var framer = LineFramer(limit: limit)
        var lines: [[UInt8]] = []
        for piece in pieces {
            framer.append(piece)
            do {
                while let line = try framer.next() { lines.append(line) }
            } catch {
                return (lines, true)
            }
        }
        return (lines, false)
    }
    let whole = read([input])
    let apart = read(input.map { [$0] })
    precondition(whole == apart, "the pieces matter")
    precondition(whole.0.allSatisfy { $0.count <= limit }, "a line above its limit")
}

private func call(_ input: [UInt8]) {
    guard let decoded = try? WireJSON.decode(DecodedRequest.self, from: input, what: "a call") else { return }
    guard case .applyPolicies(let request)? = decoded.request else { return }
    guard let line = try? WireJSON.line(RequestFrame(id: decoded.id, arguments: request)),
        let again = try? WireJSON.decode(DecodedRequest.self, from: Array(line.dropLast()), what: "a call")
    else { preconditionFailure("what was understood cannot be written") }
    precondition(again == decoded, "written otherwise")
}
