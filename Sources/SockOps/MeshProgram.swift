// SPDX-License-Identifier: Apache-2.0

/// The programs of `sockmap.bpf.o` and where each belongs.
public struct MeshProgram: Hashable, Sendable {
    /// Where a program is attached.
    public enum Place: Sendable {
        /// The cgroup that holds the pods of the node.
        case nodeCgroup
        /// The cgroup below it in which the sockets of the proxy are made.
        case factoryCgroup
        /// The root of the cgroup hierarchy, for the node's own connections.
        case rootCgroup
        /// The network namespace of each enrolled pod.
        case podNamespace
        /// The sockhash, or a slot that the sockhash's program jumps into.
        case sockhash
        /// Nowhere: it is run on demand.
        case none
    }

    /// Name of the function, of the program in the kernel, and of the link's pin.
    public let name: String
    /// Nil for programs that are attached nowhere.
    public let point: AttachPoint?
    /// Where it is attached.
    public let place: Place

    private init(_ name: String, _ point: AttachPoint?, _ place: Place) {
        self.name = name
        self.point = point
        self.place = place
    }

    /// Ingress of a pod; reads the records of connections.
    public static let lookup = MeshProgram("mesh_lookup", .socketLookup, .podNamespace)
    /// The verdict over each send of an accelerated socket.
    public static let verdict = MeshProgram("mesh_msg", .socketMessage, .sockhash)
    /// What the sockhash runs: a jump into slot 0.
    public static let stub = MeshProgram("mesh_msg_stub", .socketMessage, .sockhash)
    /// The policy decision for user space.
    public static let query = MeshProgram("mesh_query", nil, .none)

    /// Removes what no socket will remove any more, for user space.
    public static let reap = MeshProgram("mesh_reap", nil, .none)

    /// Writes rows of policy where they stand, for user space.
    public static let fill = MeshProgram("mesh_fill", nil, .none)

    /// The programs of cgroups, in the order in which they are attached and replaced: those that read the
    /// records of connections before those that write them, so that no reader meets a record newer than itself.
    public static let ofCgroups = [
        MeshProgram("mesh_recvmsg4", .recvmsg4, .nodeCgroup),
        MeshProgram("mesh_recvmsg6", .recvmsg6, .nodeCgroup),
        MeshProgram("mesh_getpeer4", .getpeername4, .nodeCgroup),
        MeshProgram("mesh_getpeer6", .getpeername6, .nodeCgroup),
        MeshProgram("mesh_getsock4", .getsockname4, .nodeCgroup),
        MeshProgram("mesh_getsock6", .getsockname6, .nodeCgroup),
        MeshProgram("mesh_origin", .getsockopt, .factoryCgroup),
        MeshProgram("mesh_sockopt", .setsockopt, .nodeCgroup),
        MeshProgram("mesh_sockops", .sockOps, .nodeCgroup),
        hostRecords,
        MeshProgram("mesh_sendmsg4", .sendmsg4, .nodeCgroup),
        MeshProgram("mesh_sendmsg6", .sendmsg6, .nodeCgroup),
        MeshProgram("mesh_connect4", .connect4, .nodeCgroup),
        MeshProgram("mesh_connect6", .connect6, .nodeCgroup),
        MeshProgram("mesh_sock_create", .socketCreate, .nodeCgroup),
        MeshProgram("mesh_factory", .socketCreate, .factoryCgroup),
    ]

    /// Records of the node's own connections to its pods; the only program that is attached above others' pods.
    public static let hostRecords = MeshProgram("mesh_host_ops", .sockOps, .rootCgroup)

    /// Every program of the object.
    public static let all = [lookup, verdict, stub, query, reap, fill] + ofCgroups

    /// As the kernel shows names: 15 characters (BPF_OBJ_NAME_LEN less its zero).
    public var kernelName: String { String(name.prefix(15)) }

    /// Whether `kernelName` is that of a program of this project.
    public static func isOurs(kernelName: String) -> Bool { kernelNames.contains(kernelName) }

    private static let kernelNames = Set(all.map(\.kernelName))
}
