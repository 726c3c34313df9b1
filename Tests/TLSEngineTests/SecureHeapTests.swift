// SPDX-License-Identifier: Apache-2.0

import Foundation
import TLSEngine
import Testing

@Suite struct SecureHeapTests {
    /// In a process of its own: the heap is the whole process's, and stays.
    @Test func keysAreKeptApart() async {
        await #expect(processExitsWith: .success) {
            try TLSLibrary.prepare()
            precondition(TLSLibrary.keptApartBytes == 0, "in use before it is there")
            let heap = TLSLibrary.keepKeysApart(bytes: 1 << 16)
            precondition(heap == .locked || heap == .unlocked, "\(heap)")
            do {
                let key = try PrivateKey.make()
                let used = TLSLibrary.keptApartBytes
                precondition(used >= 32 && used <= 1024, "a key takes \(used) bytes")
                precondition(key.withPKCS8 { $0.count } > 32)
            }
            precondition(TLSLibrary.keptApartBytes == 0, "a key is left behind")
            // Handshakes, too, leave nothing there, and find it large enough.
            do {
                let pair = try SessionPair(TestMesh())
                try pair.handshake()
                pair.server.input += try pair.client.write([1, 2, 3])
                _ = try pair.server.read()
                precondition(pair.server.plain == [1, 2, 3])
            }
            precondition(TLSLibrary.keptApartBytes == 0, "a handshake has left \(TLSLibrary.keptApartBytes) bytes")
            if heap == .locked {
                let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
                let locked = status.split(separator: "\n").first { $0.hasPrefix("VmLck:") }
                precondition(locked.map { !$0.hasSuffix("\t       0 kB") } == true, "nothing is locked")
            }
        }
    }
}
