// SPDX-License-Identifier: Apache-2.0

import CLibBPF
import Glibc
import LinuxIO

/// An attachment of a program to a cgroup or a network namespace.
///
/// The attachment ends with the last descriptor and the last pin: dropping an unpinned link
/// detaches. A link does not keep its target alive; when the target goes, the link is dead.
public struct BPFLink: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor
    /// What is attached to what, for messages.
    private let subject: String

    /// What the kernel says about a link.
    public struct State: Hashable, Sendable {
        /// The kernel's number of the link.
        public let id: UInt32
        /// The kernel's number of the program that runs.
        public let programID: UInt32
        /// `enum bpf_attach_type`.
        public let attachType: UInt32
        /// Inode of the cgroup directory or of the namespace; 0 if the target is gone and the link dead.
        public let target: UInt64
    }

    private init(descriptor: consuming OwnedDescriptor, subject: String) {
        self.descriptor = descriptor
        self.subject = subject
    }

    /// Attaches `program`, next to what is attached there already.
    ///
    /// - Parameters:
    ///   - target: descriptor of a cgroup directory or a network namespace.
    ///   - point: must be what the program was compiled for.
    ///   - targetName: for messages.
    /// - Throws: ``BPFError`` with `.attach`: EPERM also where an ancestor has a program attached exclusively.
    public init(
        attaching program: borrowing BPFProgram, to target: CInt, at point: AttachPoint, targetName: String
    ) throws(BPFError) {
        let raw = bpf_link_create(program.descriptor.rawValue, target, point.kernelType, nil)
        let subject = "\(program.name) to \(targetName)"
        guard raw >= 0 else { throw BPFError(.attach, subject, errnoCode: raw) }
        self.init(descriptor: OwnedDescriptor(adopting: raw), subject: subject)
    }

    /// Opens a pinned link.
    ///
    /// - Throws: ``BPFError`` with `.open`: ENOENT if nothing is pinned there, EINVAL if it is not a link.
    public init(pinned path: String) throws(BPFError) {
        self.init(descriptor: try PinnedObject.open(.link, path), subject: "link \(path)")
    }

    /// Asks the kernel what the link does now.
    public func state() throws(BPFError) -> State {
        var info = sockops_link_info()
        let status = sockops_link_info(descriptor.rawValue, &info)
        guard status == 0 else { throw BPFError(.query, subject, errnoCode: status) }
        return State(id: info.id, programID: info.program_id, attachType: info.attach_type, target: info.target)
    }

    /// Replaces the program in place; every run is of the old one or of the new one, none is missed.
    ///
    /// - Returns: false if the target is gone: the link is dead, unpin it.
    /// - Throws: ``BPFError`` with `.update`: EINVAL if the program is of another type.
    public func update(to program: borrowing BPFProgram) throws(BPFError) -> Bool {
        let status = bpf_link_update(descriptor.rawValue, program.descriptor.rawValue, nil)
        // A dying target answers in one of these ways, by kernel and kind of link.
        if status == -ENOLINK || status == -ESTALE { return false }
        guard status == 0 else { throw BPFError(.update, "\(subject) to \(program.name)", errnoCode: status) }
        return true
    }

    /// Pins the link at `path`, which must not exist; the attachment then outlives the process.
    public func pin(_ path: String) throws(BPFError) {
        let status = bpf_obj_pin(descriptor.rawValue, path)
        guard status == 0 else { throw BPFError(.pin, "\(subject) at \(path)", errnoCode: status) }
    }

    /// Ends the attachment now, whoever else holds the link. A dead link is detached already.
    public consuming func detach() throws(BPFError) {
        let status = bpf_link_detach(descriptor.rawValue)
        guard status == 0 || status == -ENOLINK else { throw BPFError(.detach, subject, errnoCode: status) }
    }
}
