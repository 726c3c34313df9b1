// SPDX-License-Identifier: Apache-2.0

import L7Proxy
import MeshModel
import TLSEngine

/// What libFuzzer calls with each input: what a stranger's CONNECT may say. The first byte chooses what the rest is.
///
/// Beyond not crashing and not reading out of bounds: what is found is made of what may stand there.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHBONE(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let input = UnsafeRawBufferPointer(start: start + 1, count: count - 1)
    if start[0] & 0x80 != 0 {
        messages(input, isServer: start[0] & 1 != 0)
        return 0
    }
    switch start[0] % 4 {
    case 0: target(input)
    case 1:
        guard let host = HBONEForwarded.host(input) else { return 0 }
        precondition(!host.isEmpty && host.upperBound <= input.count, "a host outside of the field")
        precondition(input[host].allSatisfy { $0 > 0x20 && $0 < 0x7f }, "a host that is no text")
    case 2: baggage(input)
    default: records(input)
    }
    return 0
}

private func target(_ input: UnsafeRawBufferPointer) {
    let text = String(decoding: input, as: UTF8.self)
    switch HBONETarget(input) {
    case nil: return
    case .address(let address, let port)?:
        precondition(port != 0 && text.hasSuffix(String(port)), "another port: \(text)")
        let again = Array((address.isIPv4 ? "\(address):\(port)" : "[\(address)]:\(port)").utf8)
        precondition(
            again.withUnsafeBytes { HBONETarget($0) } == .address(address, port: port), "written otherwise: \(text)")
    case .service(let hostBytes, let port)?:
        precondition(port != 0 && hostBytes > 0 && hostBytes <= 253 && hostBytes < input.count, "no host: \(text)")
        precondition(IPAddress(String(decoding: input[..<hostBytes], as: UTF8.self)) == nil, "an address: \(text)")
    }
}

/// Whole records are records, and what is left is less than one or none at all.
private func records(_ input: UnsafeRawBufferPointer) {
    let whole = TLSRecords.whole(in: input)
    precondition(whole >= 0 && whole <= input.count, "records outside of the input")
    var end = 0
    while end < whole {
        guard whole - end >= TLSRecords.headerBytes else { return precondition(whole == input.count, "half a header") }
        let body = Int(input[end + 3]) << 8 | Int(input[end + 4])
        // What has no valid length is OpenSSL's, all of it.
        if body > TLSRecords.maximumBody || !TLSRecords.isHeader(input[end], input[end + 1]) {
            return precondition(whole == input.count, "a header that was believed")
        }
        end += TLSRecords.headerBytes + body
    }
    precondition(end == whole, "half a record")
    let rest = UnsafeRawBufferPointer(rebasing: input[whole...])
    precondition(TLSRecords.whole(in: rest) == 0, "a record was left")
}

/// What a peer sends beside the application's bytes: records of a type, a length and a content. What a record is taken for
/// does not depend on how the messages in it are cut, and they end after so many.
private func messages(_ input: UnsafeRawBufferPointer, isServer: Bool) {
    var messages = TLSMessages(isServer: isServer)
    var rest = input[...]
    var count = 0
    while let type = rest.popFirst(), let length = rest.popFirst() {
        let content = UnsafeRawBufferPointer(rebasing: rest.prefix(Int(length)))
        rest = rest.dropFirst(Int(length))
        do throws(TLSViolation) {
            let effect = try messages.take(type, content)
            count += 1
            precondition(count <= 32, "quiet without an end")
            switch effect {
            case .nothing: break
            case .ended:
                precondition(type == 21 && content.elementsEqual([content[0], 0]), "an end that nobody has said")
            case .newKey(let isAsked):
                precondition(type == 22 && content.last == (isAsked ? 1 : 0), "another KeyUpdate")
            }
        } catch {
            if case .refused(let alert) = error { precondition(type == 21 && content[1] == alert, "another alert") }
            return
        }
    }
}

/// Two lines, so that what spans them is seen.
private func baggage(_ input: UnsafeRawBufferPointer) {
    guard let message = input.baseAddress else { return }
    var baggage = HBONEBaggage()
    let middle = input.count / 2
    baggage.add(ByteRange(offset: 0, length: UInt32(middle)), in: message)
    baggage.add(ByteRange(offset: UInt32(middle), length: UInt32(input.count - middle)), in: message)
    for key in HBONEBaggage.Key.allCases where !baggage[key].isEmpty {
        let range = baggage[key]
        precondition(Int(range.offset) + Int(range.length) <= input.count, "a value outside of the message")
        let value = UnsafeRawBufferPointer(rebasing: input[Int(range.offset)..<Int(range.offset) + Int(range.length)])
        let again = HBONEBaggage.text([(key, String(decoding: value, as: UTF8.self))])
        precondition(again.count == key.text.utf8CodeUnitCount + 1 + value.count, "a value that cannot be written")
    }
}
