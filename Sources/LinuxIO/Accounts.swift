// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Names and numbers of users and groups, through the system's name service.
///
/// The name service may ask the network: not for handlers of an ``EventLoop``, except with ``nameFromFile``.
public enum Accounts {
    /// A user and what a login of it gets.
    public struct User: Sendable {
        public let name: String
        public let number: UInt32
        public let group: UInt32
        public let home: String
    }

    /// The user called `name`; `nil` if there is none or the name service fails.
    public static func user(_ name: String) -> User? {
        withEntry { (buffer: UnsafeMutableBufferPointer<CChar>, status: inout CInt) in
            var entry = passwd()
            var found: UnsafeMutablePointer<passwd>?
            guard let base = buffer.baseAddress else { return nil }
            status = getpwnam_r(name, &entry, base, buffer.count, &found)
            guard found != nil else { return nil }
            return User(
                name: String(cString: entry.pw_name), number: entry.pw_uid, group: entry.pw_gid,
                home: String(cString: entry.pw_dir))
        }
    }

    /// The number of the group called `name`; `nil` if there is none or the name service fails.
    public static func groupNumber(_ name: String) -> UInt32? {
        withEntry { (buffer: UnsafeMutableBufferPointer<CChar>, status: inout CInt) in
            var entry = group()
            var found: UnsafeMutablePointer<group>?
            guard let base = buffer.baseAddress else { return nil }
            status = getgrnam_r(name, &entry, base, buffer.count, &found)
            return found == nil ? nil : entry.gr_gid
        }
    }

    /// The name of a user or group as `/etc/passwd` or `/etc/group` has it; `nil` if it has none. Never blocks.
    public static func nameFromFile(_ file: File, number: UInt32) -> String? {
        guard let text = try? SmallFile.readText(file.rawValue) else { return nil }
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count >= 3, UInt32(fields[2]) == number { return String(fields[0]) }
        }
        return nil
    }

    /// Where names are found without asking anybody.
    public enum File: String, Sendable {
        case users = "/etc/passwd"
        case groups = "/etc/group"
    }

    /// Repeats `body` with a larger buffer as long as the entry does not fit. Large groups have long entries.
    private static func withEntry<Value>(
        _ body: (UnsafeMutableBufferPointer<CChar>, inout CInt) -> Value?
    ) -> Value? {
        var size = 1024
        while size <= 1 << 20 {
            var status: CInt = 0
            let value = withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { body($0, &status) }
            if status != ERANGE { return value }
            size *= 4
        }
        return nil
    }
}
