// SPDX-License-Identifier: Apache-2.0

public import Glibc

/// The processes of the machine that the caller's PID namespace shows.
public enum ProcessTable {
    /// - Parameter limit: how many are listed at most.
    /// - Returns: those that `/proc` lists, in no order; none if it cannot be read. Any of them may have ended.
    public static func all(atMost limit: Int = .max) -> [pid_t] {
        guard let directory = opendir("/proc") else { return [] }
        defer { closedir(directory) }
        var found: [pid_t] = []
        while found.count < limit, let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let pid = pid_t(name) { found.append(pid) }
        }
        return found
    }
}
