// SPDX-License-Identifier: Apache-2.0

import CMeshABI
public import LinuxIO

/// Where a node's programs are attached and where its pins are.
public struct DataPlaneConfiguration: Hashable, Sendable {
    /// Holds the pods of the node, in cgroups of their own below it.
    public let cgroup: Cgroup
    /// The root of the hierarchy, for records of the node's own connections; nil to do without them.
    public let rootCgroup: Cgroup?
    /// Directory of the node on a bpf file system; nothing else may be in it.
    public let bpffs: String

    /// - Parameters:
    ///   - cgroup: is created if it is missing.
    ///   - bpffs: is created if it is missing, and must then be on a bpf file system.
    public init(cgroup: Cgroup, rootCgroup: Cgroup?, bpffs: String) {
        self.cgroup = cgroup
        self.rootCgroup = rootCgroup
        self.bpffs = bpffs.count > 1 && bpffs.hasSuffix("/") ? String(bpffs.dropLast()) : bpffs
    }

    /// The pins of this build's layout. Another layout has another directory, so that no agent misreads a map.
    public var versionDirectory: String { "\(bpffs)/v\(MESH_ABI_VERSION)" }

    /// One file for each map, with the map's name.
    public var mapDirectory: String { "\(versionDirectory)/maps" }

    /// One file for each link: the program's name, or `netns-COOKIE`.
    public var linkDirectory: String { "\(versionDirectory)/links" }

    /// Directories of all layouts that have left pins, this build's among them.
    func versionDirectories() throws(BPFError) -> [String] {
        try PinTree.names(bpffs)
            .filter { $0.hasPrefix("v") && UInt32($0.dropFirst()) != nil }
            .map { "\(bpffs)/\($0)" }
    }

    /// Programs that are attached nowhere, for tools: the verdict function over the live maps.
    var programDirectory: String { "\(versionDirectory)/progs" }

    func mapPath(_ name: String) -> String { "\(mapDirectory)/\(name)" }
    func linkPath(_ program: MeshProgram) -> String { "\(linkDirectory)/\(program.name)" }
    func lookupPath(_ cookie: UInt64) -> String { lookupPath(cookie, in: versionDirectory) }

    /// As ``lookupPath(_:)``, of the layout in `directory`.
    func lookupPath(_ cookie: UInt64, in directory: String) -> String {
        "\(directory)/links/\(Self.lookupPrefix)\(cookie)"
    }

    /// Where the process is that makes the proxy's sockets inside pods: each carries a mark of that, and connects
    /// nowhere before it is told where.
    public var factoryCgroup: Cgroup { Cgroup(path: "\(cgroup.path)/factory") }

    /// The cgroup that `program` is attached to, nil if it is not attached here.
    func target(of program: MeshProgram) -> Cgroup? {
        switch program.place {
        case .nodeCgroup: cgroup
        case .factoryCgroup: factoryCgroup
        case .rootCgroup: rootCgroup
        case .podNamespace, .sockhash, .none: nil
        }
    }

    private static let lookupPrefix = "netns-"

    /// The cookie in the name of a lookup link's pin, nil for other pins.
    static func lookupCookie(inPinName name: String) -> UInt64? {
        name.hasPrefix(lookupPrefix) ? UInt64(name.dropFirst(lookupPrefix.count)) : nil
    }
}
