// SPDX-License-Identifier: Apache-2.0

public import CMeshABI
import Glibc
public import LinuxIO

/// The kernel half of one node: programs attached, maps pinned, and the agent's hands on both.
///
/// Everything is pinned, so it goes on forwarding and enforcing when this value or the process
/// ends; the next ``init(_:object:)`` adopts it. Used by one thread at a time.
public struct DataPlane: ~Copyable {
    /// Where it is attached and pinned.
    public let configuration: DataPlaneConfiguration
    /// The maps, shared with the programs.
    public let maps: MeshMaps
    /// What an earlier agent had left.
    public let adoption: Adoption
    private let lookup: BPFProgram
    private let verdict: BPFProgram
    private let query: BPFProgram
    private let reap: BPFProgram
    private let fill: BPFProgram

    /// What was found at the start.
    public struct Adoption: Hashable, Sendable {
        /// Maps that were there and are used on, with what is in them.
        public var maps: [String] = []
        /// Programs that were replaced in place, without a gap.
        public var updated: [String] = []
        /// Programs whose link was dead (its cgroup is gone) or on another cgroup, and was made anew.
        public var replaced: [String] = []
        /// Netns cookies of pods whose namespace still has its lookup program, now the new one.
        public var lookups: [UInt64] = []

        /// Nothing was there: a fresh start.
        public var isEmpty: Bool { maps.isEmpty && updated.isEmpty && replaced.isEmpty && lookups.isEmpty }
    }

    /// Loads the object and attaches it, or puts it in the place of what an earlier agent has left.
    ///
    /// A fresh start that fails leaves nothing behind; one over pinned state leaves that state at work.
    ///
    /// - Throws: ``BPFError``: `.start` with EBUSY if another node is attached above or below; `.reuse` if a
    ///   pinned map has another layout; `.load` with the verifier's last lines; `.attach`.
    public init(_ configuration: DataPlaneConfiguration, object file: consuming BPFObjectFile) throws(BPFError) {
        let uninstaller = Uninstaller(configuration)
        let isFresh = !PinTree.exists(configuration.versionDirectory)
        let isNewCgroup = !configuration.cgroup.exists
        try BPFError.telling { () throws(SystemError) in
            try configuration.cgroup.create()
            try configuration.factoryCgroup.create()
            try Mounts.ensureBPFFS(configuration.bpffs)
        }
        let lock = try StartLock()
        _ = lock
        do throws(BPFError) {
            try self.init(installing: file, configuration)
        } catch {
            // The error is the news; what cannot be removed now is found by the next start.
            if isFresh { try? Uninstaller.removeVersion(configuration.versionDirectory) }
            uninstaller.removeEmptyDirectories(cgroup: isNewCgroup)
            throw error
        }
    }

    private init(
        installing file: consuming BPFObjectFile, _ configuration: DataPlaneConfiguration
    ) throws(BPFError) {
        let links = CgroupLinks(configuration: configuration)
        try Neighbours(own: links.programIDs()).requireAlone(configuration)
        try BPFError.telling { () throws(SystemError) in
            try Mounts.makeDirectories(configuration.mapDirectory, mode: 0o700)
            try Mounts.makeDirectories(configuration.linkDirectory, mode: 0o700)
            try Mounts.makeDirectories(configuration.programDirectory, mode: 0o700)
        }

        var adoption = Adoption()
        let declared = file.maps.map(\.name)
        for name in declared where PinTree.exists(configuration.mapPath(name)) {
            try Self.reuse(name, of: configuration, by: file)
            adoption.maps.append(name)
        }
        let object = try file.load()
        for name in declared where !adoption.maps.contains(name) {
            try object.map(name).pin(configuration.mapPath(name))
        }
        let maps = try MeshMaps { name throws(BPFError) in try object.map(name) }
        let lookup = try object.program(MeshProgram.lookup.name)
        let verdict = try object.program(MeshProgram.verdict.name)
        let query = try object.program(MeshProgram.query.name)
        let reap = try object.program(MeshProgram.reap.name)
        let fill = try object.program(MeshProgram.fill.name)
        let queryPath = "\(configuration.programDirectory)/\(query.name)"
        if PinTree.exists(queryPath) { try PinTree.unpin(queryPath) }
        try query.pin(queryPath)

        // Readers of records first, writers last; see MeshProgram.ofCgroups.
        adoption.lookups = try LookupLinks(configuration: configuration).adopt(lookup)
        try maps.slots.set(0, verdict)
        try maps.sockets.attach(object.program(MeshProgram.stub.name))
        for program in MeshProgram.ofCgroups {
            switch try links.install(program, loaded: object.program(program.name)) {
            case .updated: adoption.updated.append(program.name)
            case .replaced: adoption.replaced.append(program.name)
            case .attached, nil: break
            }
        }
        try links.sweep()
        for name in try PinTree.names(configuration.mapDirectory) where !declared.contains(name) {
            try PinTree.unpin(configuration.mapPath(name))
        }

        self.configuration = configuration
        self.maps = maps
        self.adoption = adoption
        self.lookup = lookup
        self.verdict = verdict
        self.query = query
        self.reap = reap
        self.fill = fill
    }

    private static func reuse(
        _ name: String, of configuration: DataPlaneConfiguration, by file: borrowing BPFObjectFile
    ) throws(BPFError) {
        let path = configuration.mapPath(name)
        do throws(BPFError) {
            try file.reuse(MapHandle(pinned: path), as: name)
        } catch {
            throw BPFError(
                .reuse, "map \(path)", errnoCode: error.errnoCode,
                detail:
                    "\(error.detail ?? "it cannot be used"); another build has left it: run the agent that made it, "
                    + "or `meshctl uninstall` and start again")
        }
    }

    /// Puts ingress of a pod under policy: from now on its SYNs and datagrams pass mesh_lookup.
    ///
    /// - Parameters:
    ///   - namespace: the pod's; lent, nothing keeps it alive.
    ///   - cookie: of that namespace.
    /// - Returns: false if it was attached already, by this or an earlier agent.
    /// - Throws: ``BPFError`` with `.attach`; EBUSY if the pod is enrolled in another node.
    @discardableResult
    public func attachLookup(_ namespace: borrowing NetworkNamespace, cookie: UInt64) throws(BPFError) -> Bool {
        try LookupLinks(configuration: configuration).attach(lookup, to: namespace, cookie: cookie)
    }

    /// Takes ingress of a pod out of policy; a pod that is not attached, or gone, is fine.
    public func detachLookup(cookie: UInt64) throws(BPFError) {
        try LookupLinks(configuration: configuration).detach(cookie)
    }

    /// Cookies of the namespaces that have the lookup program; those that have died since are unpinned here.
    public func liveLookups() throws(BPFError) -> [UInt64] {
        try LookupLinks(configuration: configuration).adopt(lookup)
    }

    /// Ends all redirection: each direction goes to TCP, for good, with its next message. Order is kept.
    public func killSwitch() throws(BPFError) { try maps.slots.clear(0) }

    /// Allows redirection of new connections again after ``killSwitch()``.
    public func releaseKillSwitch() throws(BPFError) { try maps.slots.set(0, verdict) }

    /// Asks the kernel's own verdict function over the live maps.
    ///
    /// - Parameter question: source, destination, port and protocol.
    /// - Returns: the question with its answer filled in.
    /// - Throws: ``BPFError`` with `.run`.
    public func ask(_ question: mesh_query) throws(BPFError) -> mesh_query {
        try Self.run(query, question)
    }

    /// Removes a connection end whose socket is gone, or an idle UDP flow, and takes it off its workload's account.
    ///
    /// - Returns: whether it was removed: it still belonged to that socket, or was idle for long enough.
    /// - Throws: ``BPFError`` with `.run`.
    public func reap(_ request: mesh_reap) throws(BPFError) -> Bool {
        try Self.run(reap, request).removed != 0
    }

    /// Writes a row where it stands, so that no program that is reading it can see another row in its place.
    ///
    /// - Returns: whether it was there: for an address or a prefix, with the same flags and namespace.
    /// - Throws: ``BPFError`` with `.run`.
    public func fill(_ request: mesh_fill) throws(BPFError) -> Bool {
        try Self.run(fill, request).done != 0
    }

    /// Runs a program that reads and answers one value behind an Ethernet header.
    private static func run<Value: BitwiseCopyable>(
        _ program: borrowing BPFProgram, _ value: Value
    ) throws(BPFError) -> Value {
        // The kernel takes the first 14 bytes for an Ethernet header (net/bpf/test_run.c).
        let header = 14
        var packet = [UInt8](repeating: 0, count: header)
        withUnsafeBytes(of: value) { packet.append(contentsOf: $0) }
        let action = try program.testRun(&packet)
        guard action == 0 else {
            throw BPFError(.run, "program \(program.name)", errnoCode: EINVAL, detail: "it answered \(action), not 0")
        }
        return packet.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: header, as: Value.self) }
    }
}
