// SPDX-License-Identifier: Apache-2.0

internal import CIPSecMB
internal import COpenSSL

/// What encrypts or decrypts the records of one direction (RFC 8446 section 5.2), with one key.
enum RecordCipher: ~Copyable {
    case openSSL(OpenSSLCipher)
    case wide(WideCipher)

    /// - Parameter key: As many bytes as the suite's keys have.
    /// - Returns: `nil` if OpenSSL has no memory.
    static func make(_ suite: TLSSuite, key: UnsafePointer<UInt8>, isSending: Bool) -> RecordCipher? {
        if let gcm = suite.wide { return .wide(WideCipher(gcm, key: key, bytes: suite.keyBytes)) }
        guard let made = OpenSSLCipher.make(suite, key: key, isSending: isSending) else { return nil }
        return .openSSL(made)
    }

    /// Encrypts what a record has, and authenticates its header.
    ///
    /// - Parameters:
    ///   - type: The last byte that is encrypted.
    ///   - vector: Of this record: never the same twice.
    ///   - record: Its header, and behind it room for what is encrypted and for the tag.
    @inline(__always)
    borrowing func seal(
        _ content: UnsafeRawBufferPointer, type: UInt8, vector: UnsafePointer<UInt8>,
        to record: UnsafeMutablePointer<UInt8>
    ) -> Bool {
        switch self {
        case .openSSL(let cipher): cipher.seal(content, type: type, vector: vector, to: record)
        case .wide(let cipher): cipher.seal(content, type: type, vector: vector, to: record)
        }
    }

    /// Decrypts a record of `length` bytes and the tag, at least one, to `output`, but for the last byte.
    ///
    /// - Returns: The last byte; `nil` if the record was not encrypted with this key and vector. `output` then has nothing
    ///   of worth.
    @inline(__always)
    borrowing func open(
        _ record: UnsafePointer<UInt8>, length: Int, vector: UnsafePointer<UInt8>,
        to output: UnsafeMutablePointer<UInt8>
    ) -> UInt8? {
        switch self {
        case .openSSL(let cipher): cipher.open(record, length: length, vector: vector, to: output)
        case .wide(let cipher): cipher.open(record, length: length, vector: vector, to: output)
        }
    }
}

/// OpenSSL's.
struct OpenSSLCipher: ~Copyable {
    /// EVP_CIPHER_CTX.
    private let context: OpaquePointer

    private init(_ context: OpaquePointer) { self.context = context }

    static func make(_ suite: TLSSuite, key: UnsafePointer<UInt8>, isSending: Bool) -> OpenSSLCipher? {
        guard let context = EVP_CIPHER_CTX_new() else { return nil }
        let made = OpenSSLCipher(context)
        guard EVP_CipherInit_ex(context, suite.cipher, nil, key, nil, isSending ? 1 : 0) == 1 else { return nil }
        return made
    }

    deinit { EVP_CIPHER_CTX_free(context) }

    borrowing func seal(
        _ content: UnsafeRawBufferPointer, type: UInt8, vector: UnsafePointer<UInt8>,
        to record: UnsafeMutablePointer<UInt8>
    ) -> Bool {
        var (count, last): (CInt, UInt8) = (0, type)
        guard EVP_CipherInit_ex(context, nil, nil, nil, vector, -1) == 1,
            EVP_CipherUpdate(context, nil, &count, record, CInt(TLSTraffic.headerBytes)) == 1
        else { return false }
        let start = record + TLSTraffic.headerBytes
        if let bytes = content.baseAddress, !content.isEmpty {
            guard
                EVP_CipherUpdate(
                    context, start, &count, bytes.assumingMemoryBound(to: UInt8.self), CInt(content.count)) == 1
            else { return false }
        }
        let end = start + content.count
        return EVP_CipherUpdate(context, end, &count, &last, 1) == 1
            && EVP_CipherFinal_ex(context, end + 1, &count) == 1
            && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, CInt(TLSTraffic.tagBytes), end + 1) == 1
    }

    borrowing func open(
        _ record: UnsafePointer<UInt8>, length: Int, vector: UnsafePointer<UInt8>,
        to output: UnsafeMutablePointer<UInt8>
    ) -> UInt8? {
        let body = record + TLSTraffic.headerBytes
        let tag = UnsafeMutableRawPointer(mutating: body + length)
        var (count, last): (CInt, UInt8) = (0, 0)
        guard EVP_CipherInit_ex(context, nil, nil, nil, vector, -1) == 1,
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, CInt(TLSTraffic.tagBytes), tag) == 1,
            EVP_CipherUpdate(context, nil, &count, record, CInt(TLSTraffic.headerBytes)) == 1
        else { return nil }
        if length > 1 {
            guard EVP_CipherUpdate(context, output, &count, body, CInt(length &- 1)) == 1 else { return nil }
        }
        guard EVP_CipherUpdate(context, &last, &count, body + (length &- 1), 1) == 1 else { return nil }
        var rest: UInt8 = 0
        return EVP_CipherFinal_ex(context, &rest, &count) == 1 ? last : nil
    }
}

/// That of ``WideGCM``.
struct WideCipher: ~Copyable {
    /// The key, and what one record needs.
    private let state: UnsafeMutableRawPointer

    init(_ gcm: WideGCM, key: UnsafePointer<UInt8>, bytes: Int) {
        state = .allocate(byteCount: mesh_gcm_state_bytes(), alignment: mesh_gcm_state_alignment())
        mesh_gcm_set_key(gcm.library, state, key, bytes == 32)
    }

    deinit {
        OPENSSL_cleanse(state, mesh_gcm_state_bytes())
        state.deallocate()
    }

    borrowing func seal(
        _ content: UnsafeRawBufferPointer, type: UInt8, vector: UnsafePointer<UInt8>,
        to record: UnsafeMutablePointer<UInt8>
    ) -> Bool {
        var message = mesh_gcm_message(vector: vector, header: record, header_bytes: TLSTraffic.headerBytes)
        mesh_gcm_seal(
            state, &message, content.baseAddress?.assumingMemoryBound(to: UInt8.self), content.count, type,
            record + TLSTraffic.headerBytes)
        return true
    }

    borrowing func open(
        _ record: UnsafePointer<UInt8>, length: Int, vector: UnsafePointer<UInt8>,
        to output: UnsafeMutablePointer<UInt8>
    ) -> UInt8? {
        let body = record + TLSTraffic.headerBytes
        var message = mesh_gcm_message(vector: vector, header: record, header_bytes: TLSTraffic.headerBytes)
        var last: UInt8 = 0
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: TLSTraffic.tagBytes) { tag in
            mesh_gcm_open(state, &message, body, length &- 1, output, &last, tag.baseAddress)
            // In the same time whatever differs.
            return CRYPTO_memcmp(tag.baseAddress, body + length, TLSTraffic.tagBytes) == 0 ? last : nil
        }
    }
}
