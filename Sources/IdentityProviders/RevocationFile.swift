// SPDX-License-Identifier: Apache-2.0

import Glibc
import Identity
import LinuxIO
import TLSEngine

/// A file of revocation lists that `meshctl ca revoke` or an operator writes: PEM, `X509 CRL`. None is an empty one.
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
        do throws(TLSError) { try load() } catch {
            throw TLSError(error.operation, reason: "\(error.reason); those from before stay in use")
        }
    }

    /// The same, for who has none from before.
    mutating func load() throws(TLSError) {
        let operation = "read the revocation lists in \(path)"
        var new: [UInt8] = []
        do throws(SystemError) { new = try SmallFile.read(path, limit: Self.maximumBytes) } catch {
            guard error.errnoCode == ENOENT else { throw TLSError(operation, reason: "\(error)") }
        }
        guard new != text else { return }
        do throws(TLSError) {
            let found = try Self.read(new)
            // Each can be read, and they are not too many.
            _ = try TrustBundles([:], revocations: [trustDomain: found])
            (text, lists) = (new, found)
        } catch { throw TLSError(operation, reason: "\(error)") }
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

    /// Puts certificates on this issuer's list, which is made anew. Other issuers' lists stay as they are.
    ///
    /// - Throws: ``TLSError`` also if there would be too many lists; nothing has changed then.
    mutating func add(
        _ serials: [CertificateSerial], by issuer: borrowing CertificateIssuer, at now: UnixTime
    ) throws(TLSError) {
        var new = lists
        var place = new.count
        for (index, list) in lists.enumerated() where issuer.hasSigned(list: list) { place = index }
        if place == new.count { new.append([]) }
        new[place] = try issuer.revoke(serials, adding: new[place].isEmpty ? nil : new[place], at: now)
        _ = try TrustBundles([:], revocations: [trustDomain: new])
        lists = new
    }

    /// Leaves out lists that nothing depends on any more: the next one of their issuer, who is gone, was due before `limit`.
    mutating func tidy(keeping generations: [AuthorityGeneration], dueBefore limit: UnixTime) {
        lists.removeAll { list in
            guard let due = RevocationDates.nextUpdate(of: list), due < limit else { return false }
            return !generations.contains { generation in
                generation.root.hasSigned(list: list)
                    || generation.withIntermediate { $0.hasSigned(list: list) } == true
            }
        }
    }

    /// Replaces the file, atomically and durably.
    func write() throws(SystemError) {
        var text: [UInt8] = []
        for list in lists { list.withUnsafeBytes { PEMWriter.write("X509 CRL", $0, to: &text) } }
        guard text.count <= Self.maximumBytes else {
            throw SystemError(
                "write", path, errnoCode: EFBIG, hint: "it would be larger than \(Self.maximumBytes) bytes")
        }
        var failure: SystemError?
        text.withUnsafeBytes { bytes in
            do throws(SystemError) { try SecretFile.replace(path, bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
