// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO

/// Finds the BPF object that belongs to the running executable.
public enum ObjectLocator {
    /// The object of the product.
    public static let meshObject = "sockmap.bpf.o"

    /// Where the object called `name` is looked for, best first: the build directory for what was built in
    /// place (`.build/TRIPLE/CONFIGURATION/mesh-agent`), `lib/sockmesh` for what was installed.
    public static func candidates(_ name: String, executable: String) -> [String] {
        let directory = executable.split(separator: "/").dropLast().joined(separator: "/")
        return ["../../bpf", "../bpf", "../lib/sockmesh"].map { "/\(directory)/\($0)/\(name)" }
    }

    /// The path of the object called `name`.
    ///
    /// - Throws: ``BPFError`` with `.find`; `detail` lists where it was looked for.
    public static func find(_ name: String = meshObject) throws(BPFError) -> String {
        let candidates = candidates(name, executable: try ownExecutable())
        if let found = candidates.first(where: { access($0, R_OK) == 0 }) { return found }
        throw BPFError(
            .find, "BPF object \(name)", errnoCode: ENOENT,
            detail: "build it with `make bpf`; looked for \(candidates.joined(separator: ", "))")
    }

    /// The absolute path of the running executable.
    public static func ownExecutable() throws(BPFError) -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        guard count > 0, count < buffer.count else {
            throw BPFError(SystemError("readlink", "/proc/self/exe", errnoCode: count < 0 ? errno : ENAMETOOLONG))
        }
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
