// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// The form of a file in the state directory: a first line with a checksum, and the content.
///
/// The checksum finds torn and damaged files. It is no protection against an attacker: who can write the state
/// directory is root.
enum StateFile {
    private static let mark = "# sockmesh-state 1 "

    static func encode(_ content: String) -> [UInt8] {
        Array("\(mark)\(checksum(content.utf8))\n\(content)".utf8)
    }

    /// - Returns: `nil` if the file is not whole.
    static func decode(_ bytes: [UInt8]) -> String? {
        guard let text = String(validating: bytes, as: UTF8.self), text.hasPrefix(mark),
            let end = text.utf8.firstIndex(of: UInt8(ascii: "\n"))
        else { return nil }
        let content = String(text[text.utf8.index(after: end)...])
        let written = text.utf8[..<end].dropFirst(mark.utf8.count)
        return written.elementsEqual(checksum(content.utf8).utf8) ? content : nil
    }

    /// A name for the file of an object: readable, and within the 255 bytes that a file name may have.
    static func name(_ reference: ObjectReference) -> String {
        let identity = "\(reference.apiVersion)|\(reference.kind)|\(reference.namespace)|\(reference.name)"
        let readable = [reference.kind, reference.namespace, String(reference.name.prefix(100))]
            .filter { !$0.isEmpty }.joined(separator: ".")
        return "\(readable).\(checksum(identity.utf8)).yaml"
    }

    /// FNV-1a, 64 bits, in hexadecimal.
    private static func checksum(_ bytes: some Sequence<UInt8>) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let text = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}
