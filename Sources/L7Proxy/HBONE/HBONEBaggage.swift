// SPDX-License-Identifier: Apache-2.0

/// What the ends of a tunnel tell each other about themselves in `baggage`, as ztunnel and Istio's proxies do
/// (W3C Baggage; the keys are OpenTelemetry's resource attributes). For telemetry only: nobody vouches for it.
public struct HBONEBaggage: Sendable, BitwiseCopyable {
    public enum Key: UInt8, CaseIterable, Sendable, BitwiseCopyable {
        case cluster, namespace, deployment, cronJob, pod, job, service, version, region, zone

        public var text: StaticString {
            switch self {
            case .cluster: "k8s.cluster.name"
            case .namespace: "k8s.namespace.name"
            case .deployment: "k8s.deployment.name"
            case .cronJob: "k8s.cronjob.name"
            case .pod: "k8s.pod.name"
            case .job: "k8s.job.name"
            case .service: "service.name"
            case .version: "service.version"
            case .region: "cloud.region"
            case .zone: "cloud.availability_zone"
            }
        }
    }

    /// Bytes and members that are read, of all lines (W3C Baggage section 3.3.2); what follows is left.
    public static let maximumBytes = 8192
    public static let maximumMembers = 64

    /// Offsets in the message that the lines are of.
    private var values = InlineArray<10, ByteRange>(repeating: .empty)
    private var bytes = 0
    private var members = 0

    public init() {}

    /// The value of `key`, empty if it was not told. Without the quotes around it that some writers give it.
    public subscript(key: Key) -> ByteRange { values[Int(key.rawValue)] }

    /// Takes the next line into account; the first value of a key counts. What cannot be read is left out.
    ///
    /// - Parameters:
    ///   - line: Value of a field.
    ///   - message: The memory that it is in.
    public mutating func add(_ line: ByteRange, in message: UnsafeRawPointer) {
        let text = line.bytes(in: message)
        bytes += text.count
        guard bytes <= Self.maximumBytes else { return }
        var begin = 0
        for index in 0...text.count where index == text.count || text[index] == ASCII.comma {
            members += 1
            guard members <= Self.maximumMembers else { return }
            take(Int(line.offset) + begin..<Int(line.offset) + index, message)
            begin = index + 1
        }
    }

    private mutating func take(_ range: Range<Int>, _ message: UnsafeRawPointer) {
        let member = UnsafeRawBufferPointer(start: message + range.lowerBound, count: range.count)
        guard let equals = member.firstIndex(of: UInt8(ascii: "=")) else { return }
        let name = ASCII.trimmed(UnsafeRawBufferPointer(rebasing: member[..<equals]))
        guard let key = Key.allCases.first(where: { Self.isExactly(name, $0.text) }) else { return }
        // Properties follow a semicolon.
        let end = member[equals...].firstIndex(of: ASCII.semicolon) ?? member.count
        let value = ASCII.trimmed(UnsafeRawBufferPointer(rebasing: member[(equals + 1)..<end]))
        guard let start = value.baseAddress, !value.isEmpty, value.allSatisfy(Self.isValueByte),
            self[key].isEmpty
        else { return }
        let offset = start - message
        values[Int(key.rawValue)] = ByteRange(offset, offset + value.count)
    }

    private static func isExactly(_ name: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        name.elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// `baggage-octet`: visible ASCII without quote, comma, semicolon and backslash.
    private static func isValueByte(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7f && byte != UInt8(ascii: "\"") && byte != ASCII.comma && byte != ASCII.semicolon
            && byte != ASCII.backslash
    }

    /// The value of a `baggage` field, made once for a workload.
    ///
    /// Readers undo no percent-encoding, so a value that would need it is left out, as an empty one is.
    public static func text(_ values: [(Key, String)]) -> [UInt8] {
        var text: [UInt8] = []
        for (key, value) in values where !value.isEmpty && value.utf8.allSatisfy(isValueByte) {
            if !text.isEmpty { text.append(ASCII.comma) }
            text.append(contentsOf: UnsafeBufferPointer(start: key.text.utf8Start, count: key.text.utf8CodeUnitCount))
            text.append(UInt8(ascii: "="))
            text.append(contentsOf: value.utf8)
        }
        return text
    }
}
