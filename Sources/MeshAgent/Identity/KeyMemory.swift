// SPDX-License-Identifier: Apache-2.0

import LinuxIO
import TLSEngine

/// Why a process must not hold private keys.
struct KeyMemoryError: Error, CustomStringConvertible {
    let description: String
}

/// Where private keys lie in a process that makes them.
enum KeyMemory {
    /// To be called before the first key: no core file from now on, and memory of its own for keys.
    static func prepare() throws(KeyMemoryError) -> TLSLibrary.KeyMemory {
        do throws(SystemError) { try Confinement.forbidDumps() } catch {
            throw KeyMemoryError(description: "keys cannot be kept out of core files: \(error)")
        }
        do throws(TLSError) {
            try TLSLibrary.prepare()
            return try TLSLibrary.keepKeysApart()
        } catch {
            throw KeyMemoryError(description: "\(error)")
        }
    }
}
