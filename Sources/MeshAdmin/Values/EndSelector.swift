// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Selects ends of flows: a namespace, a pod, an address or a prefix.
///
/// Written as `NAMESPACE`, `NAMESPACE/NAME`, `10.0.0.7`, `fd00::7`, `10.0.0.0/8`, `fd00::/64`.
public enum EndSelector: Hashable, Sendable {
    case namespace(String)
    case workload(namespace: String, name: String)
    /// - Parameters:
    ///   - address: 16 bytes in network order, IPv4 as `::ffff:a.b.c.d`.
    ///   - length: bits of the 128 that must agree.
    case prefix(address: [UInt8], length: Int)

    /// - Throws: ``AdminError`` with `invalidRequest` if the text is none of the forms.
    public init(_ text: String) throws(AdminError) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        if let first = parts.first, let address = Self.bytes(of: first), parts.count <= 2 {
            let isIPv4 = !first.contains(":")
            guard parts.count == 2 else {
                self = .prefix(address: address, length: 128)
                return
            }
            guard let length = Int(parts[1]), (0...(isIPv4 ? 32 : 128)).contains(length) else {
                throw AdminError(
                    .invalidRequest, "'\(text)' is not a prefix: '\(parts[1])' is not a length in bits",
                    hint: "write for example 10.0.0.0/8 or fd00::/64")
            }
            self = .prefix(address: address, length: isIPv4 ? length + 96 : length)
            return
        }
        switch parts.count {
        case 1 where Self.isName(parts[0]): self = .namespace(parts[0])
        case 2 where Self.isName(parts[0]) && Self.isName(parts[1]):
            self = .workload(namespace: parts[0], name: parts[1])
        default:
            throw AdminError(
                .invalidRequest, "'\(text)' selects nothing",
                hint: "write NAMESPACE, NAMESPACE/NAME, an address or a prefix such as 10.0.0.0/8")
        }
    }

    /// Whether the end is selected. An end without a workload has no namespace.
    public func matches(_ end: EndReport) -> Bool {
        switch self {
        case .namespace(let namespace): end.workload?.hasPrefix("\(namespace)/") ?? false
        case .workload(let namespace, let name): end.workload == "\(namespace)/\(name)"
        case .prefix(let prefix, let length):
            Self.bytes(of: end.address).map { Self.agree(prefix, $0, bits: length) } ?? false
        }
    }

    private static func agree(_ left: [UInt8], _ right: [UInt8], bits: Int) -> Bool {
        let whole = bits / 8
        guard left[..<whole].elementsEqual(right[..<whole]) else { return false }
        let rest = bits % 8
        return rest == 0 || left[whole] >> (8 - rest) == right[whole] >> (8 - rest)
    }

    /// 16 bytes of an address in text form; `nil` if it is none.
    static func bytes(of text: String) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET6, text, &bytes) == 1 { return bytes }
        var four = [UInt8](repeating: 0, count: 4)
        guard inet_pton(AF_INET, text, &four) == 1 else { return nil }
        return [UInt8](repeating: 0, count: 10) + [0xff, 0xff] + four
    }

    /// The characters of Kubernetes names (RFC 1123 subdomains).
    static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 253
            && text.utf8.allSatisfy {
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-")
                    || $0 == UInt8(ascii: ".")
            }
    }
}

extension EndSelector: CustomStringConvertible, Codable {
    public var description: String {
        switch self {
        case .namespace(let namespace): return namespace
        case .workload(let namespace, let name): return "\(namespace)/\(name)"
        case .prefix(let address, let length):
            let isIPv4 = length >= 96 && address.prefix(12).elementsEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
            var text = [CChar](repeating: 0, count: 64)
            let bytes = isIPv4 ? Array(address.suffix(4)) : address
            inet_ntop(isIPv4 ? AF_INET : AF_INET6, bytes, &text, socklen_t(text.count))
            let name = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            return length == 128 ? name : "\(name)/\(isIPv4 ? length - 96 : length)"
        }
    }

    public init(from decoder: any Decoder) throws {
        try self.init(try decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
