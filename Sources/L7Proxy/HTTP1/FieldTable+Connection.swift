// SPDX-License-Identifier: Apache-2.0

extension FieldTable {
    /// Drops every field that a `Connection` field names (RFC 9110 section 7.6.1).
    ///
    /// `Host`, `Content-Length` and the fields of the connection itself are not affected: whatever was received, the
    /// writer leaves them out and writes its own.
    ///
    /// - Parameter message: The memory that the offsets are for. The parser has bounded the number of names.
    mutating func dropNominated(in message: UnsafeRawPointer) {
        for position in 0..<count where fields[position].name == .connection {
            var list = FieldList(fields[position].valueRange.bytes(in: message))
            while let element = list.next() {
                guard let text = element.baseAddress, !element.isEmpty else { continue }
                let name = index.recognise(text, element.count)
                if name != .other {
                    if !FieldNameSet.rewritten.contains(name) { drop(name) }
                    continue
                }
                var found = first(named: element, in: message)
                while let place = found {
                    drop(place)
                    found = first(named: element, in: message, from: place + 1)
                }
            }
        }
    }
}
