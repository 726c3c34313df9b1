// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

struct SecretBytesTests {
    /// The mapping that holds an address, and its flags, as /proc/self/smaps has them.
    private static func flags(of address: UInt) throws -> [Substring] {
        var isIn = false
        for line in try SmallFile.readText("/proc/self/smaps", limit: 16 << 20).split(separator: "\n") {
            let words = line.split(separator: " ")
            if let range = words.first?.split(separator: "-"), range.count == 2,
                let low = UInt(range[0], radix: 16), let high = UInt(range[1], radix: 16)
            {
                isIn = low <= address && address < high
            } else if isIn, words.first == "VmFlags:" {
                return Array(words.dropFirst())
            }
        }
        return []
    }

    @Test func itsPagesAreInNoCoreFile() throws {
        var secret = try SecretBytes(capacity: 5000)
        #expect(secret.capacity >= 5000)
        withUnsafeBytes(of: UInt64(0x0123_4567)) { secret.append($0) }
        #expect(secret.count == 8)
        let address = secret.withBytes { UInt(bitPattern: $0.baseAddress) }
        let flags = try Self.flags(of: address)
        #expect(flags.contains("dd"))
        // Where the limit allows it; root has none.
        if geteuid() == 0 { #expect(flags.contains("lo")) }
    }

    @Test func aFileIsReadUpToALimit() throws {
        let file = try MemoryFile.make("test")
        try MemoryFile.write([1, 2, 3, 4], to: file)
        let secret = try SecretBytes.read(file, atMost: 4)
        #expect(secret.withBytes { Array($0) } == [1, 2, 3, 4])
        #expect(throws: SystemError.self) { _ = try SecretBytes.read(file, atMost: 3).count }
        MemoryFile.wipe(file)
        #expect(try SecretBytes.read(file, atMost: 3).count == 0)
    }
}
