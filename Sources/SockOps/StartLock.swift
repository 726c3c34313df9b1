// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO

/// Held while a node looks for neighbours and attaches, so that two nodes that start at once see each other.
///
/// It is a flock(2) on the root directory of the cgroup hierarchy: the one file that all nodes
/// of a machine share. It ends with the value, or with the process.
struct StartLock: ~Copyable {
    private let directory: OwnedDescriptor

    /// How long another start may take before this one gives up.
    private static let patience = Duration.seconds(20)

    /// - Throws: ``BPFError`` with `.start` and EBUSY if another node does not finish its start.
    init() throws(BPFError) {
        let directory: OwnedDescriptor
        do throws(SystemError) {
            guard let root = try Mounts.current().cgroup2 else {
                throw SystemError("start", "node", errnoCode: ENODEV, hint: "no cgroup2 hierarchy is mounted")
            }
            directory = try OwnedDescriptor(open: root, flags: O_RDONLY | O_DIRECTORY)
        } catch {
            throw BPFError(error)
        }
        let start = ContinuousClock.now
        while flock(directory.rawValue, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else {
                throw BPFError(SystemError("flock", "of the cgroup root", errnoCode: errno))
            }
            guard ContinuousClock.now - start < Self.patience else {
                throw BPFError(
                    .start, "node", errnoCode: EBUSY, detail: "another node of this machine has not finished its start")
            }
            usleep(10_000)
        }
        self.directory = directory
    }
}
