// SPDX-License-Identifier: Apache-2.0

/// Writes access log lines into memory that the caller lends. Allocates nothing.
///
/// A line always ends with its line feed and is whole: a value that is longer than its limit, or for which there is no
/// room, ends in `…`, and a field that does not fit at all is left out and the line has `truncated` at its end.
public struct AccessLogWriter: Sendable, BitwiseCopyable {
    public enum Form: UInt8, Sendable, BitwiseCopyable {
        /// One object for each line.
        case json
        /// `key=value`, strings in quotes: logfmt.
        case text
    }

    /// Bytes that a line needs at least.
    public static let minimumLength = 64
    /// Bytes of one value that are written; paths and user agents have no other limit than the head of a request.
    public static let valueLimit = 1024

    public let form: Form

    public init(_ form: Form) { self.form = form }

    /// - Parameter buffer: of at least ``minimumLength`` bytes. 4096 hold every line whose values are not unusual.
    /// - Returns: How many bytes were written, the line feed included.
    public func write(_ record: AccessLogRecord, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        precondition(buffer.count >= Self.minimumLength, "the buffer is too short for a line")
        var line = Line(form, buffer)
        line.time(record.startTime)
        line.add("direction", record.direction.text)
        if let end = record.tunnelEnd {
            line.add("protocol", "HBONE")
            line.add("reason", end)
            line.add("detail", record.detail)
        } else {
            line.add("method", record.method)
            line.add("path", record.path)
            line.add("protocol", record.protocolName)
            if record.isMirror { line.addTrue("mirror") }
            if !record.isConnection { line.add("status", UInt64(record.status)) }
            if let status = record.grpcStatus { line.add("grpc_status", UInt64(status)) }
            line.add("response_flags", record.reason.responseFlags)
            line.add("reason", record.reason.text)
        }
        line.add("duration_ms", record.duration)
        line.add("bytes_sent", record.bytesSent)
        line.add("bytes_recv", record.bytesReceived)
        line.add("src.addr", record.source.address)
        line.add("src.workload", record.source.workload)
        line.add("src.namespace", record.source.namespace)
        line.add("src.identity", record.source.identity)
        line.add("dst.addr", record.destination.address)
        line.add("dst.service", record.service)
        line.add("dst.workload", record.destination.workload)
        line.add("dst.namespace", record.destination.namespace)
        line.add("dst.identity", record.destination.identity)
        line.add("authority", record.authority)
        line.add("decided_by", record.decidedBy)
        if let dryRun = record.dryRun { line.add("dry_run", dryRun) }
        line.add("route", record.route)
        line.add("upstream.addr", record.upstreamAddress)
        if let duration = record.upstreamDuration { line.add("upstream_ms", duration) }
        if record.attempts > 1 { line.add("attempts", UInt64(record.attempts)) }
        line.add("request_id", record.requestID)
        line.add("trace_id", record.traceID)
        line.add("user_agent", record.userAgent)
        line.add("x_forwarded_for", record.forwardedFor)
        return line.end()
    }

    /// A line in the making.
    private struct Line {
        private let form: Form
        private var output: LogValue
        private var isFirst = true
        private var isTruncated = false

        init(_ form: Form, _ buffer: UnsafeMutableRawBufferPointer) {
            self.form = form
            // For the longest end: ,"truncated":true}\n
            output = LogValue(buffer, reserve: 20)
            if form == .json { _ = output.append("{") }
        }

        /// RFC 3339 with microseconds, in UTC.
        mutating func time(_ microseconds: UInt64) {
            let time = CivilTime(microseconds: microseconds)
            let text = time.text
            withUnsafeBytes(of: text) { add("time", $0) }
        }

        mutating func add(_ name: StaticString, _ number: UInt64) {
            field(name) { $0.append(decimal: number) }
        }

        mutating func addTrue(_ name: StaticString) { field(name) { $0.append("true") } }

        mutating func add(_ name: StaticString, _ text: StaticString) {
            add(name, UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        }

        mutating func add(_ name: StaticString, _ bytes: UnsafeRawBufferPointer?) {
            guard let bytes else { return }
            field(name) { $0.append(quoted: bytes, limit: AccessLogWriter.valueLimit) }
        }

        @inline(__always)
        private mutating func field(_ name: StaticString, _ value: (inout LogValue) -> Bool) {
            let begin = output.count
            let isWritten: Bool =
                switch form {
                case .json:
                    (isFirst || output.append(",")) && output.append("\"") && output.append(name)
                        && output.append("\":") && value(&output)
                case .text:
                    (isFirst || output.append(" ")) && output.append(name) && output.append("=") && value(&output)
                }
            if isWritten {
                isFirst = false
            } else {
                output.cut(to: begin)
                isTruncated = true
            }
        }

        mutating func end() -> Int {
            switch (form, isTruncated) {
            case (.json, false): _ = output.append("}\n", useReserve: true)
            case (.json, true):
                _ = output.append(isFirst ? "\"truncated\":true}\n" : ",\"truncated\":true}\n", useReserve: true)
            case (.text, false): _ = output.append("\n", useReserve: true)
            case (.text, true): _ = output.append(isFirst ? "truncated=true\n" : " truncated=true\n", useReserve: true)
            }
            return output.count
        }
    }
}
