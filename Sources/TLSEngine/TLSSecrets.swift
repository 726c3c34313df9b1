// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// The secrets of both directions (RFC 8446 section 7.1), from when OpenSSL tells them until there are keys.
struct TLSSecrets: ~Copyable {
    /// Of the longest digest of a suite, SHA-384.
    static let mostBytes = 48
    /// Of a hello's random, in hexadecimal, and the space behind it.
    private static let randomLength = 65

    /// The client's and the server's, if they have come. Wiped when they are freed.
    private var memory: UnsafeMutableRawPointer?
    private var clientBytes = 0
    private var serverBytes = 0

    deinit {
        if let memory { Self.wipe(memory) }
    }

    private static func wipe(_ memory: UnsafeMutableRawPointer) {
        OPENSSL_cleanse(memory, 2 * mostBytes)
        memory.deallocate()
    }

    mutating func forget() {
        if let memory { Self.wipe(memory) }
        memory = nil
        (clientBytes, serverBytes) = (0, 0)
    }

    /// - Returns: The secret of who sends; `nil` unless it has come with so many bytes.
    func secret(ofServer isServer: Bool, bytes: Int) -> UnsafeRawPointer? {
        guard let memory, bytes > 0, (isServer ? serverBytes : clientBytes) == bytes else { return nil }
        return UnsafeRawPointer(memory + (isServer ? Self.mostBytes : 0))
    }

    /// - Parameter line: `LABEL RANDOM SECRET`; other labels mean nothing here.
    mutating func take(_ line: UnsafePointer<CChar>) {
        if let text = Self.text(line, after: "CLIENT_TRAFFIC_SECRET_0 ") {
            clientBytes = read(text, at: 0)
        } else if let text = Self.text(line, after: "SERVER_TRAFFIC_SECRET_0 ") {
            serverBytes = read(text, at: Self.mostBytes)
        }
    }

    private static func text(_ line: UnsafePointer<CChar>, after label: StaticString) -> UnsafePointer<CChar>? {
        let count = label.utf8CodeUnitCount
        let isLabel = label.utf8Start.withMemoryRebound(to: CChar.self, capacity: count) {
            strncmp(line, $0, count) == 0
        }
        guard isLabel, strnlen(line, 4096) > count + randomLength else { return nil }
        return line + count + randomLength
    }

    /// - Returns: How many bytes; 0 if it is no secret.
    private mutating func read(_ text: UnsafePointer<CChar>, at place: Int) -> Int {
        let memory = memory ?? .allocate(byteCount: 2 * Self.mostBytes, alignment: 8)
        self.memory = memory
        for index in 0...Self.mostBytes {
            if text[2 * index] == 0 { return index }
            guard index < Self.mostBytes, let high = Self.digit(text[2 * index]),
                let low = Self.digit(text[2 * index + 1])
            else { return 0 }
            memory.storeBytes(of: high << 4 | low, toByteOffset: place + index, as: UInt8.self)
        }
        return 0
    }

    private static func digit(_ character: CChar) -> UInt8? {
        switch UInt8(bitPattern: character) {
        case let digit where digit >= 48 && digit <= 57: digit - 48
        case let letter where letter >= 97 && letter <= 102: letter - 87
        case let letter where letter >= 65 && letter <= 70: letter - 55
        default: nil
        }
    }
}
