// SPDX-License-Identifier: Apache-2.0

import L7Proxy

/// What libFuzzer calls with each input: the first byte chooses which end reads and where the bytes are split; the rest
/// comes from the peer, for a server after the client preface.
///
/// Beyond not crashing and not reading out of bounds: how the bytes arrive must not matter, no stream may be left when
/// the session is gone, and a head that is told can be written as one HTTP/1 message that our own parser accepts.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTP2(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let choice = start[0]
    let isServer = choice & 1 == 0
    let preface = isServer ? Array(HTTP2Preface.text.description.utf8) : []
    let input = preface + Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let whole = Connection.read(isServer: isServer, [input])
    let place = input.count * Int(choice >> 1) / 128
    let halves = Connection.read(isServer: isServer, [Array(input[..<place]), Array(input[place...])])
    precondition(halves == whole, "a split at \(place) reads otherwise:\n\(halves)\nnot\n\(whole)")
    if input.count < 600 {
        let bytes = Connection.read(isServer: isServer, input.map { [$0] })
        precondition(bytes == whole, "byte by byte it reads otherwise:\n\(bytes)\nnot\n\(whole)")
    }
    return 0
}
