// SPDX-License-Identifier: Apache-2.0

import MeshModel
import ProxyProtocol

/// What libFuzzer calls with each input: the first byte chooses what the rest is read as.
///
/// Beyond not crashing and not reading out of bounds: what is accepted has one encoding, the bytes that came.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzProxyProtocol(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    switch start[0] % 14 {
    case 0: check(ServiceRecord.self, input)
    case 1: check(WorkloadRecord.self, input)
    case 2: check(MeshRoute.self, input)
    case 3: check(ReferenceGrant.self, input)
    case 4: check(ConfigurationState.self, input)
    case 5: packet(AgentMessage.self, input, from: .agent, to: .proxy)
    case 6: packet(ProxyMessage.self, input, from: .proxy, to: .agent)
    case 7: packet(FactoryRequest.self, input, from: .agent, to: .factory)
    case 8: packet(FactoryAnswer.self, input, from: .factory, to: .agent)
    case 9: identities(input)
    case 10: check(TrustRecord.self, input)
    case 11: check(RemotePodRecord.self, input)
    case 12: check(VerdictRecord.self, input)
    default: check(VerdictUseRecord.self, input)
    }
    return 0
}

private func check<Value: WireValue>(_: Value.Type, _ input: [UInt8]) {
    guard let value = try? Value(wire: input) else { return }
    precondition(value.wire == input, "what was accepted is written otherwise")
}

/// The input is one packet: as the first of its link, and as one after the hello.
private func packet<Message: LinkMessage>(
    _: Message.Type, _ input: [UInt8], from sender: Hello.Role, to receiver: Hello.Role
) {
    typealias End = LinkState<Message, Message>
    var out = End(Hello(sender, program: "1"), expecting: receiver)
    let first = End(Hello(receiver, program: "1"), expecting: sender)
    var fresh = first
    _ = input.withUnsafeBytes { fresh.receive($0, descriptors: 0) }
    var second = first
    _ = out.hello().withUnsafeBytes { second.receive($0, descriptors: 0) }
    for descriptors in 0...1 {
        var end = second
        guard case .message(let message) = input.withUnsafeBytes({ end.receive($0, descriptors: descriptors) }) else {
            continue
        }
        precondition(message.descriptors == descriptors, "a message without its descriptor")
        var again = out
        precondition(again.frame(message) == input, "what was accepted is framed otherwise")
    }
}

/// A file of identities: the keys are the end of it, in order and without gaps.
private func identities(_ input: [UInt8]) {
    input.withUnsafeBytes { bytes in
        guard let (transfer, keys) = try? IdentityTransfer.read(bytes) else { return }
        let head = transfer.wire
        precondition(Array(input[..<head.count]) == head, "what was accepted is written otherwise")
        var next = head.count
        for (identity, key) in zip(transfer.identities, keys) {
            precondition(key.lowerBound == next && key.count == Int(identity.keyBytes), "a key lies elsewhere")
            next = key.upperBound
        }
        precondition(next == input.count && keys.count == transfer.identities.count, "bytes that belong to nobody")
    }
}
