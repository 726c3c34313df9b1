// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// What a PEM file holds (RFC 7468): certificates, private keys and revocation lists, in the order of the file.
public enum PEMItem: ~Copyable {
    case certificate(Certificate)
    case privateKey(PrivateKey)
    /// DER of a revocation list.
    case revocationList([UInt8])
}

/// Reads PEM. Text between the blocks is passed over.
public enum PEMReader {
    /// - Parameters:
    ///   - text: The caller wipes it if there are keys in it.
    ///   - body: Takes each item.
    /// - Throws: ``TLSError`` that says which block is wrong, counted from 1.
    public static func read(
        _ text: UnsafeRawBufferPointer, _ body: (consuming PEMItem) throws(TLSError) -> Void
    ) throws(TLSError) {
        ERR_clear_error()
        guard let bio = BIO_new_mem_buf(text.baseAddress, CInt(clamping: text.count)) else {
            if text.isEmpty { return }
            throw TLSError("read PEM")
        }
        defer { BIO_free(bio) }
        var count = 0
        while true {
            count += 1
            var name: UnsafeMutablePointer<CChar>?
            var header: UnsafeMutablePointer<CChar>?
            var bytes: UnsafeMutablePointer<UInt8>?
            var length = 0
            guard PEM_read_bio(bio, &name, &header, &bytes, &length) == 1, let name, let bytes else {
                guard lastReason() == PEM_R_NO_START_LINE else { throw TLSError("read PEM block \(count)") }
                ERR_clear_error()
                return
            }
            defer {
                mesh_free(name)
                mesh_free(header)
                mesh_wipe_free(bytes, length)
            }
            let block = UnsafeRawBufferPointer(start: bytes, count: length)
            do throws(TLSError) {
                switch String(cString: name) {
                case "CERTIFICATE": try body(.certificate(Certificate(der: Array(block))))
                case "PRIVATE KEY": try body(.privateKey(PrivateKey(pkcs8: block)))
                case "X509 CRL": try body(.revocationList(Array(block)))
                case let label:
                    throw TLSError(
                        "read PEM", reason: "it is \(label.prefix(40)), not CERTIFICATE, PRIVATE KEY or X509 CRL")
                }
            } catch {
                throw TLSError("PEM block \(count): \(error.operation)", reason: error.reason)
            }
        }
    }

    private static func lastReason() -> CInt { CInt(ERR_peek_last_error() & UInt(ERR_REASON_MASK)) }
}

/// Writes PEM.
public enum PEMWriter {
    /// The lines of a block: `label` is `CERTIFICATE`, `PRIVATE KEY` or `X509 CRL`. They are appended to `text`, which the caller
    /// wipes if that is a key.
    public static func write(_ label: StaticString, _ bytes: UnsafeRawBufferPointer, to text: inout [UInt8]) {
        let lineBytes = 48
        func append(_ line: StaticString) {
            text.append(contentsOf: UnsafeBufferPointer(start: line.utf8Start, count: line.utf8CodeUnitCount))
        }
        append("-----BEGIN ")
        append(label)
        append("-----\n")
        var index = 0
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 80) { line in
            while index < bytes.count, let out = line.baseAddress, let start = bytes.baseAddress {
                let count = min(lineBytes, bytes.count - index)
                let written = EVP_EncodeBlock(out, start.assumingMemoryBound(to: UInt8.self) + index, CInt(count))
                text.append(contentsOf: line[..<Int(written)])
                append("\n")
                index += count
            }
            OPENSSL_cleanse(line.baseAddress, line.count)
        }
        append("-----END ")
        append(label)
        append("-----\n")
    }
}
