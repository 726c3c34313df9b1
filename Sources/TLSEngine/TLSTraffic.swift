// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// The keys of one direction of a connection (RFC 8446 section 7.3), and the number of its next record.
///
/// OpenSSL's state for a cipher, more than a kilobyte, is made when there is something to do, and given back by
/// ``rest()``: an idle connection keeps a secret, a key and an initialization vector.
struct TLSTraffic: ~Copyable {
    /// The type, version and length before a record; the tag after it (RFC 8446 section 5.2).
    static let headerBytes = 5
    static let tagBytes = 16
    /// What a record is longer than its content: also the type of the content.
    static let overhead = headerBytes + 1 + tagBytes

    private let suite: TLSSuite
    private let isSending: Bool
    /// Of the next record (RFC 8446 section 5.3). Records of one key are far fewer: ``TLSSession/recordsPerKey``, and a peer
    /// that does not renew its own is left before they repeat.
    private(set) var sequence: UInt64 = 0
    /// EVP_CIPHER_CTX.
    private var context: OpaquePointer?
    /// The secret, the key, the vector, and the vector of one record. Wiped when it is freed.
    private let memory: UnsafeMutableRawPointer

    private static let keyPlace = 48
    private static let vectorPlace = 80
    private static let vectorBytes = 12
    private static let noncePlace = 92
    private static let memoryBytes = 104

    private init(_ suite: TLSSuite, isSending: Bool) {
        self.suite = suite
        self.isSending = isSending
        memory = .allocate(byteCount: Self.memoryBytes, alignment: 8)
    }

    /// - Parameter secret: As many bytes as the suite's digest has.
    /// - Returns: `nil` if there is no memory.
    static func make(_ suite: TLSSuite, secret: UnsafeRawPointer, isSending: Bool) -> TLSTraffic? {
        let made = TLSTraffic(suite, isSending: isSending)
        made.memory.copyMemory(from: secret, byteCount: suite.secretBytes)
        guard made.deriveKeys() else { return nil }
        return made
    }

    deinit {
        if let context { EVP_CIPHER_CTX_free(context) }
        OPENSSL_cleanse(memory, Self.memoryBytes)
        memory.deallocate()
    }

    /// Gives back what is made anew when it is needed.
    mutating func rest() {
        guard let context else { return }
        EVP_CIPHER_CTX_free(context)
        self.context = nil
    }

    // MARK: Keys

    /// The next secret and its keys (RFC 8446 section 7.2).
    mutating func renew() -> Bool {
        guard expand("tls13 traffic upd", to: memory, suite.secretBytes), deriveKeys() else { return false }
        // Its state has the old key, with which no number may come again.
        rest()
        sequence = 0
        return true
    }

    private func deriveKeys() -> Bool {
        expand("tls13 key", to: memory + Self.keyPlace, suite.keyBytes)
            && expand("tls13 iv", to: memory + Self.vectorPlace, Self.vectorBytes)
    }

    /// HKDF-Expand-Label without a context (RFC 8446 section 7.1), of no more than one block (RFC 5869 section 2.3).
    private func expand(_ label: StaticString, to place: UnsafeMutableRawPointer, _ count: Int) -> Bool {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 64 + Int(EVP_MAX_MD_SIZE)) { space in
            guard let info = space.baseAddress else { return false }
            let length = label.utf8CodeUnitCount
            (info[0], info[1], info[2]) = (0, UInt8(count), UInt8(length))
            UnsafeMutableRawPointer(info + 3).copyMemory(from: label.utf8Start, byteCount: length)
            // No context; the number of the block.
            (info[3 + length], info[4 + length]) = (0, 1)
            let block = info + 64
            defer { OPENSSL_cleanse(block, Int(EVP_MAX_MD_SIZE)) }
            guard HMAC(suite.digest, memory, CInt(suite.secretBytes), info, 5 + length, block, nil) != nil else {
                return false
            }
            place.copyMemory(from: block, byteCount: count)
            return true
        }
    }

    @inline(__always)
    private func bytes(_ place: Int) -> UnsafeMutablePointer<UInt8> {
        (memory + place).assumingMemoryBound(to: UInt8.self)
    }

    // MARK: Records

    /// OpenSSL's state, with the vector of the next record (RFC 8446 section 5.3).
    @inline(__always)
    private mutating func begin() -> OpaquePointer? {
        if context == nil { makeContext() }
        guard sequence < .max, let context else { return nil }
        let nonce = memory + Self.noncePlace
        let vector = memory + Self.vectorPlace
        nonce.copyMemory(from: vector, byteCount: 4)
        let low = (vector + 4).loadUnaligned(as: UInt64.self) ^ sequence.bigEndian
        (nonce + 4).storeBytes(of: low, as: UInt64.self)
        guard EVP_CipherInit_ex(context, nil, nil, nil, bytes(Self.noncePlace), -1) == 1 else { return nil }
        sequence &+= 1
        return context
    }

    private mutating func makeContext() {
        guard let made = EVP_CIPHER_CTX_new() else { return }
        context = made
        if EVP_CipherInit_ex(made, suite.cipher, nil, bytes(Self.keyPlace), nil, isSending ? 1 : 0) != 1 { rest() }
    }

    /// Writes a record.
    ///
    /// - Parameters:
    ///   - content: At most ``TLSSession/maximumRecord`` bytes.
    ///   - space: With room for it and ``overhead``.
    /// - Returns: Whether it could be; else there is no memory.
    mutating func seal(
        _ content: UnsafeRawBufferPointer, type: UInt8, to space: UnsafeMutableRawPointer
    ) -> Bool {
        guard let context = begin() else { return false }
        let body = content.count &+ 1 &+ Self.tagBytes
        let record = space.assumingMemoryBound(to: UInt8.self)
        (record[0], record[1], record[2]) = (23, 3, 3)
        (record[3], record[4]) = (UInt8(body >> 8), UInt8(body & 255))
        var count: CInt = 0
        var last = type
        guard EVP_CipherUpdate(context, nil, &count, record, CInt(Self.headerBytes)) == 1 else { return false }
        let start = record + Self.headerBytes
        if let bytes = content.baseAddress, !content.isEmpty {
            guard
                EVP_CipherUpdate(
                    context, start, &count, bytes.assumingMemoryBound(to: UInt8.self), CInt(content.count)) == 1
            else { return false }
        }
        let end = start + content.count
        return EVP_CipherUpdate(context, end, &count, &last, 1) == 1
            && EVP_CipherFinal_ex(context, end + 1, &count) == 1
            && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, CInt(Self.tagBytes), end + 1) == 1
    }

    /// Decrypts a record, but not believes it.
    ///
    /// - Parameters:
    ///   - record: All of it. Its body is at least one byte and the tag.
    ///   - space: With room for what was encrypted, but its last byte.
    /// - Returns: The last byte of what was encrypted; `nil` if it is not what the peer has sent. `space` then has nothing
    ///   of worth.
    mutating func open(_ record: UnsafeRawBufferPointer, to space: UnsafeMutableRawPointer) -> UInt8? {
        guard let context = begin(), let start = record.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            return nil
        }
        let length = record.count &- Self.headerBytes &- Self.tagBytes
        let tag = UnsafeMutableRawPointer(mutating: start + Self.headerBytes + length)
        let output = space.assumingMemoryBound(to: UInt8.self)
        var (count, last): (CInt, UInt8) = (0, 0)
        guard EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, CInt(Self.tagBytes), tag) == 1,
            EVP_CipherUpdate(context, nil, &count, start, CInt(Self.headerBytes)) == 1
        else { return nil }
        let body = start + Self.headerBytes
        if length > 1 {
            guard EVP_CipherUpdate(context, output, &count, body, CInt(length &- 1)) == 1 else { return nil }
        }
        guard EVP_CipherUpdate(context, &last, &count, body + (length &- 1), 1) == 1 else { return nil }
        var rest: UInt8 = 0
        return EVP_CipherFinal_ex(context, &rest, &count) == 1 ? last : nil
    }
}
