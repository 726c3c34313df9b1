// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// The keys of one direction of a connection (RFC 8446 section 7.3), and the number of its next record.
///
/// A cipher's state, more than a kilobyte, is made when there is something to do, and given back by ``rest()``: an idle
/// connection keeps a secret, a key and an initialization vector.
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
    private var cipher: RecordCipher?
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
        OPENSSL_cleanse(memory, Self.memoryBytes)
        memory.deallocate()
    }

    /// Gives back what is made anew when it is needed.
    mutating func rest() { cipher = nil }

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

    /// Makes the vector of the next record (RFC 8446 section 5.3), and the cipher if there is none.
    ///
    /// - Returns: Whether there is one.
    @inline(__always)
    private mutating func begin() -> Bool {
        guard sequence < .max, hasCipher || makeCipher() else { return false }
        let nonce = memory + Self.noncePlace
        let vector = memory + Self.vectorPlace
        nonce.copyMemory(from: vector, byteCount: 4)
        let low = (vector + 4).loadUnaligned(as: UInt64.self) ^ sequence.bigEndian
        (nonce + 4).storeBytes(of: low, as: UInt64.self)
        sequence &+= 1
        return true
    }

    @inline(__always)
    private var hasCipher: Bool {
        switch cipher {
        case .some: true
        case .none: false
        }
    }

    private mutating func makeCipher() -> Bool {
        cipher = RecordCipher.make(suite, key: bytes(Self.keyPlace), isSending: isSending)
        return hasCipher
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
        guard begin() else { return false }
        let body = content.count &+ 1 &+ Self.tagBytes
        let record = space.assumingMemoryBound(to: UInt8.self)
        (record[0], record[1], record[2]) = (23, 3, 3)
        (record[3], record[4]) = (UInt8(body >> 8), UInt8(body & 255))
        switch cipher {
        case .some(let cipher): return cipher.seal(content, type: type, vector: bytes(Self.noncePlace), to: record)
        case .none: return false
        }
    }

    /// Decrypts a record, but not believes it.
    ///
    /// - Parameters:
    ///   - record: All of it. Its body is at least one byte and the tag.
    ///   - space: With room for what was encrypted, but its last byte.
    /// - Returns: The last byte of what was encrypted; `nil` if it is not what the peer has sent. `space` then has nothing
    ///   of worth.
    mutating func open(_ record: UnsafeRawBufferPointer, to space: UnsafeMutableRawPointer) -> UInt8? {
        guard begin(), let start = record.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return nil }
        let output = space.assumingMemoryBound(to: UInt8.self)
        let length = record.count &- Self.headerBytes &- Self.tagBytes
        switch cipher {
        case .some(let cipher): return cipher.open(start, length: length, vector: bytes(Self.noncePlace), to: output)
        case .none: return nil
        }
    }
}
