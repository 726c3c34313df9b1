// SPDX-License-Identifier: Apache-2.0

import Glibc
public import LinuxIO
import SockOps

/// What the defaults of a configuration are found from.
public struct Machine: Sendable {
    public var hostname: String
    /// Where cgroup v2 is mounted.
    public var cgroup2Mount: String?
    public var currentDirectory: String
    /// Of this process; `nil` if it cannot be found.
    public var executable: String?
    /// Whether there is a file that may be executed.
    public var isProgram: @Sendable (_ path: String) -> Bool
    public var isDirectory: @Sendable (_ path: String) -> Bool
    /// The number of the group called `name`.
    public var groupNumber: @Sendable (_ name: String) -> UInt32?

    /// A machine as described: for tests.
    public init(
        hostname: String, cgroup2Mount: String?, currentDirectory: String, executable: String? = nil,
        isProgram: @escaping @Sendable (String) -> Bool = { _ in false },
        isDirectory: @escaping @Sendable (String) -> Bool, groupNumber: @escaping @Sendable (String) -> UInt32?
    ) {
        self.hostname = hostname
        self.cgroup2Mount = cgroup2Mount
        self.currentDirectory = currentDirectory
        self.executable = executable
        self.isProgram = isProgram
        self.isDirectory = isDirectory
        self.groupNumber = groupNumber
    }

    /// The path from the root, without empty, `.` and `..` parts.
    public func absolute(_ path: String) -> String { AgentConfiguration.absolute(path, in: currentDirectory) }

    /// The machine that this process runs on.
    ///
    /// - Throws: ``SystemError`` if `/proc/self/mountinfo` cannot be read.
    public static func current() throws(SystemError) -> Machine {
        var name = utsname()
        try SystemError.check("uname") { uname(&name) }
        let hostname = withUnsafeBytes(of: name.nodename) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let directory = getcwd(nil, 0)
        defer { free(directory) }
        return Machine(
            hostname: hostname,
            cgroup2Mount: try Mounts.current().cgroup2,
            currentDirectory: directory.map { String(cString: $0) } ?? "/",
            executable: try? ObjectLocator.ownExecutable(),
            isProgram: { isOfKind($0, S_IFREG) && access($0, X_OK) == 0 }, isDirectory: { isOfKind($0, S_IFDIR) },
            groupNumber: Accounts.groupNumber)
    }

    private static func isOfKind(_ path: String, _ kind: mode_t) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == kind
    }
}
