// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import Synchronization

/// Collects what libbpf prints, so that an error can carry it instead of standard error.
///
/// libbpf has one print function for the process and calls it on the thread that called
/// libbpf. Lines are therefore kept by thread, and only while that thread captures.
enum LibBPFLog {
    /// Lines kept of one capture: the end of a verifier log has the reason, the start does not.
    static let limit = 24

    /// Runs `body`; what libbpf warned of meanwhile is in `lines`, the last ``limit`` of them.
    static func capture<Value: ~Copyable, Failure: Error>(
        into lines: inout [String], _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        _ = installed
        let thread = UInt(pthread_self())
        captures.withLock { $0[thread] = [] }
        defer { lines = captures.withLock { $0.removeValue(forKey: thread) } ?? [] }
        return try body()
    }

    private static let captures = Mutex<[UInt: [String]]>([:])

    private static let installed: Void = {
        _ = libbpf_set_print { level, format, arguments in
            // Optional on some architectures only.
            let given: CVaListPointer? = arguments
            guard level == LIBBPF_WARN, let format, let given else { return 0 }
            // vasprintf, because a va_list can be walked only once and a verifier log has any length.
            var text: UnsafeMutablePointer<CChar>?
            guard vasprintf(&text, format, given) >= 0, let text else { return 0 }
            defer { free(text) }
            LibBPFLog.append(String(cString: text))
            return 0
        }
    }()

    private static func append(_ text: String) {
        let thread = UInt(pthread_self())
        captures.withLock { captures in
            guard var lines = captures[thread] else { return }
            // The counters after the verdict push the reason out of the last lines.
            let noise = [
                "processed ", "verification time ", "stack depth ", "-- END PROG LOAD LOG",
                "libbpf: failed to load object",
            ]
            for line in text.split(separator: "\n") where !noise.contains(where: { line.hasPrefix($0) }) {
                lines.append(String(line))
            }
            captures[thread] = Array(lines.suffix(limit))
        }
    }
}
