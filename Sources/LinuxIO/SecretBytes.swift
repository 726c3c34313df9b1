// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Memory for a secret that is on its way: pages of its own, kept out of core files and, where the limit of locked memory
/// allows it, of swap; wiped when the owner goes. Has no text.
public struct SecretBytes: ~Copyable {
    private let memory: UnsafeMutableRawBufferPointer
    public private(set) var count = 0

    /// - Throws: ``SystemError`` if there is no memory.
    public init(capacity: Int) throws(SystemError) {
        let page = Int(getpagesize())
        let size = max(1, (capacity + page - 1) / page) * page
        guard let start = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            start != MAP_FAILED
        else { throw SystemError("mmap", errnoCode: errno) }
        clinux_keep_secret(start, size)
        memory = UnsafeMutableRawBufferPointer(start: start, count: size)
    }

    deinit {
        SecretFile.wipe(memory)
        munmap(memory.baseAddress, memory.count)
    }

    public var capacity: Int { memory.count }

    /// - Precondition: there is room.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count <= memory.count - count, "a secret is longer than its memory")
        UnsafeMutableRawBufferPointer(rebasing: memory[count...]).copyMemory(from: bytes)
        count += bytes.count
    }

    /// Lends the bytes.
    public func withBytes<Value, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try body(UnsafeRawBufferPointer(rebasing: memory[..<count]))
    }

    /// All bytes of a file in memory. It is read, not mapped: whoever else has it may cut it at any time.
    ///
    /// - Parameter limit: bytes.
    /// - Throws: ``SystemError``; EFBIG if it has more.
    public static func read(_ file: SharedDescriptor, atMost limit: Int) throws(SystemError) -> SecretBytes {
        let raw = file.rawValue
        var status = stat()
        try SystemError.check("fstat") { fstat(raw, &status) }
        let size = Int(status.st_size)
        guard size <= limit else {
            throw SystemError("fstat", errnoCode: EFBIG, hint: "\(size) bytes, more than \(limit)")
        }
        var bytes = try SecretBytes(capacity: size)
        while bytes.count < size {
            let rest = UnsafeMutableRawBufferPointer(rebasing: bytes.memory[bytes.count..<size])
            let offset = off_t(bytes.count)
            let count = try SystemError.check("pread") { pread(raw, rest.baseAddress, rest.count, offset) }
            if count == 0 { break }
            bytes.count += count
        }
        return bytes
    }
}

extension MemoryFile {
    /// Appends lent bytes to a file in memory.
    public static func append(_ bytes: UnsafeRawBufferPointer, to file: SharedDescriptor) throws(SystemError) {
        let raw = file.rawValue
        var written = 0
        while written < bytes.count {
            written += try SystemError.check("write") {
                Glibc.write(raw, bytes.baseAddress.map { $0 + written }, bytes.count - written)
            }
        }
    }

    /// Overwrites all of a file that nobody has sealed with zeros: the secret in it has arrived.
    public static func wipe(_ file: SharedDescriptor) {
        let raw = file.rawValue
        var status = stat()
        guard fstat(raw, &status) == 0, status.st_size > 0 else { return }
        let zeros = [UInt8](repeating: 0, count: 1 << 16)
        var offset = 0
        while offset < Int(status.st_size) {
            let count = zeros.withUnsafeBytes {
                pwrite(raw, $0.baseAddress, min($0.count, Int(status.st_size) - offset), off_t(offset))
            }
            guard count > 0 else { break }
            offset += count
        }
        _ = ftruncate(raw, 0)
    }
}
