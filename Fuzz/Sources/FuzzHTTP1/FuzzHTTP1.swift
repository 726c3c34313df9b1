// SPDX-License-Identifier: Apache-2.0

import L7Proxy

/// What libFuzzer calls with each input: the first byte chooses what is read and where it is split, the rest is read.
///
/// Beyond not crashing and not reading out of bounds: how the bytes arrive must not matter, and a message that is
/// accepted must be forwarded as one message that reads alike. No request may be taken for another protocol by its first
/// bytes.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTP1(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let choice = start[0]
    let input = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let kind: Kind = choice & 1 == 0 ? .request : .response(to: choice & 2 == 0 ? .get : .head)
    let whole = Message.read(kind, [input])
    let place = input.count * Int(choice >> 2) / 64
    precondition(
        Message.read(kind, [Array(input[..<place]), Array(input[place...])]) == whole,
        "a split at \(place) reads otherwise")
    precondition(Message.read(kind, input.map { [$0] }) == whole, "byte by byte it reads otherwise")

    let verdict = detected(input)
    if kind == .request, case .complete = whole {
        precondition(verdict == .http, "a request is taken for another protocol")
    }
    precondition(verdict != .undecided || input.count < ProtocolDetector.longest, "it is not known what this is")

    if case .complete(let message) = whole, let wire = message.forwarded {
        let again = Message.read(kind, [wire], isOurs: true)
        guard case .complete(let copy) = again else {
            preconditionFailure("what is forwarded is not accepted: \(again)")
        }
        precondition(copy.length == wire.count, "what is forwarded is more than one message")
        precondition(copy.body == message.body, "the body changed")
        precondition(copy.forwarded == wire, "forwarded twice, it changes")
        let injected = wire.withUnsafeBytes { $0.contains(0) } && !message.body.contains(0)
        precondition(!injected, "a NUL was forwarded")
    }
    return 0
}

/// What the first bytes say, which must not depend on how many have come.
private func detected(_ input: [UInt8]) -> ProtocolDetector.Verdict {
    var known = ProtocolDetector.Verdict.undecided
    for length in 0...min(input.count, ProtocolDetector.longest + 1) {
        let verdict = Array(input[..<length]).withUnsafeBytes { ProtocolDetector.verdict(on: $0) }
        precondition(known == .undecided || verdict == known, "after \(length) bytes it is something else")
        known = verdict
    }
    return known
}
