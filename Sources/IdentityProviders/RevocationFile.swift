// SPDX-License-Identifier: Apache-2.0

import Glibc
import Identity
import LinuxIO
import TLSEngine

/// A file of revocation lists that an operator keeps: PEM, `X509 CRL`. None is an empty one.
struct RevocationFile {
    /// Largest file that is read, in bytes.
    static let maximumBytes = 1 << 20

    let path: String
    let trustDomain: TrustDomain
    /// As it was read last.
    private var text: [UInt8] = []
    /// DER, in the order of the file.
    private(set) var lists: [[UInt8]] = []

    init(path: String, trustDomain: TrustDomain) {
        self.path = path
        self.trustDomain = trustDomain
    }

    /// Reads the file again.
    ///
    /// - Throws: ``TLSError`` that says what is wrong with it; the lists from before stay in use.
    mutating func look() throws(TLSError) {
        let operation = "read the revocation lists in \(path)"
        var new: [UInt8] = []
        do throws(SystemError) { new = try SmallFile.read(path, limit: Self.maximumBytes) } catch {
            guard error.errnoCode == ENOENT else {
                throw TLSError(operation, reason: "\(error); those from before stay in use")
            }
        }
        guard new != text else { return }
        do throws(TLSError) {
            let found = try Self.read(new)
            // Each can be read, and they are not too many.
            _ = try TrustBundles([:], revocations: [trustDomain: found])
            (text, lists) = (new, found)
        } catch { throw TLSError(operation, reason: "\(error); those from before stay in use") }
    }

    private static func read(_ text: [UInt8]) throws(TLSError) -> [[UInt8]] {
        var lists: [[UInt8]] = []
        var failure: TLSError?
        text.withUnsafeBytes { bytes in
            do throws(TLSError) {
                try PEMReader.read(bytes) { item throws(TLSError) in
                    guard case .revocationList(let der) = consume item else {
                        throw TLSError("read it", reason: "it holds something else than X509 CRL")
                    }
                    lists.append(der)
                }
            } catch { failure = error }
        }
        if let failure { throw failure }
        return lists
    }
}
