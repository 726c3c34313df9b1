// SPDX-License-Identifier: Apache-2.0

/// The parameters of a query, as forms write them: pairs between `&`, a name and a value around the first `=`, `+` for
/// a space, and escapes. https://url.spec.whatwg.org/#urlencoded-parsing
enum QueryParameters {
    /// The value of the first parameter whose decoded name is `name`, still encoded.
    static func value(of name: UnsafeRawBufferPointer, in query: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var begin = 0
        while begin < query.count {
            var equals = -1
            var end = begin
            while end < query.count, query[end] != UInt8(ascii: "&") {
                if equals < 0, query[end] == UInt8(ascii: "=") { equals = end }
                end += 1
            }
            if end > begin {
                let nameEnd = equals < 0 ? end : equals
                if FormInput(UnsafeRawBufferPointer(rebasing: query[begin..<nameEnd])).equals(name) {
                    return UnsafeRawBufferPointer(rebasing: query[min(nameEnd + 1, end)..<end])
                }
            }
            begin = end + 1
        }
        return nil
    }
}

/// The bytes that a form's encoding stands for. An escape without two digits stands for itself.
struct FormInput: RegexInput {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func next() -> UInt8? {
        guard offset < bytes.count else { return nil }
        let byte = bytes[offset]
        offset += 1
        if byte == UInt8(ascii: "+") { return UInt8(ascii: " ") }
        guard byte == UInt8(ascii: "%"), offset + 1 < bytes.count, let high = bytes[offset].hexDigit,
            let low = bytes[offset + 1].hexDigit
        else { return byte }
        offset += 2
        return high << 4 | low
    }
}
