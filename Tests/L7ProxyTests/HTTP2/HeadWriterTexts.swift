// SPDX-License-Identifier: Apache-2.0

import CNGHTTP2

@testable import L7Proxy

extension HTTP2HeadWriter {
    /// The list as it would be sent, apart from the case of names.
    var texts: [ReadField] {
        func text(_ start: UnsafeMutablePointer<UInt8>?, _ count: Int) -> String {
            String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
        }
        return (0..<count).map {
            ReadField(text(fields[$0].name, fields[$0].namelen), text(fields[$0].value, fields[$0].valuelen))
        }
    }
}
