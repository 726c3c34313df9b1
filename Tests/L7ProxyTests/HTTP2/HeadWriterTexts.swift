// SPDX-License-Identifier: Apache-2.0

@testable import L7Proxy

extension HTTP2HeadWriter {
    /// The list as it would be sent, apart from the case of names.
    var texts: [ReadField] {
        func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }
        return (0..<count).map { ReadField(text(fields[$0].name), text(fields[$0].value)) }
    }
}
