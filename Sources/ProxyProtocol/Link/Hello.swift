// SPDX-License-Identifier: Apache-2.0

/// The first message in both directions: who speaks, and which version of the protocol.
public struct Hello: Hashable, Sendable {
    public enum Role: UInt8, Hashable, Sendable {
        case agent = 1
        case proxy = 2
        case factory = 3

        /// Name of the program.
        public var program: String {
            switch self {
            case .agent: "mesh-agent"
            case .proxy: "mesh-proxy"
            case .factory: "socket factory"
            }
        }
    }

    /// Of the protocol: the same major number means that they understand each other; whoever has the higher minor number
    /// sends nothing that the other does not know.
    public struct Version: Hashable, Sendable, CustomStringConvertible {
        public let major: UInt16
        public let minor: UInt16

        public init(major: UInt16, minor: UInt16) {
            self.major = major
            self.minor = minor
        }

        public static let current = Version(major: 1, minor: 2)

        /// Whether identities are understood.
        public var hasIdentities: Bool { major > 1 || minor >= 2 }

        public var description: String { "\(major).\(minor)" }
    }

    public var role: Role
    public var version: Version
    /// Of the program, `0.1.0`.
    public var program: String
    /// Of the configuration that is in force; 0: none.
    public var generation: UInt64
    /// Listeners that the sender holds and will send back.
    public var listeners: UInt32

    public init(
        _ role: Role, version: Version = .current, program: String, generation: UInt64 = 0, listeners: UInt32 = 0
    ) {
        self.role = role
        self.version = version
        self.program = program
        self.generation = generation
        self.listeners = listeners
    }

    /// `SMPX`.
    private static let magic: UInt32 = 0x5850_4d53

    /// Why a peer that says this cannot be talked to; `nil` if it can.
    public func refusal(by own: Hello) -> String? {
        guard version.major != own.version.major else { return nil }
        return "\(role.program) \(program) speaks version \(version) of the protocol and "
            + "\(own.role.program) \(own.program) version \(own.version): install both from one release"
    }
}

extension Hello: WireValue {
    /// The first five members stand where they are in every version, so that a refusal can name them.
    public func encode(to writer: inout ByteWriter) {
        writer.write(Self.magic, role.rawValue, version.major, version.minor, program, generation, listeners)
    }

    /// What follows in a later version is passed over.
    public init(from reader: inout ByteReader) throws(WireError) {
        guard try reader.read(UInt32.self) == Self.magic else { throw reader.failure("not a Sockmesh program") }
        guard let role = Role(rawValue: try reader.read()) else { throw reader.failure("an unknown role") }
        let version = Version(major: try reader.read(), minor: try reader.read())
        let program: String = try reader.read()
        guard program.utf8.count <= 64 else { throw reader.failure("a program version of more than 64 bytes") }
        guard version.major == Version.current.major else {
            self.init(role, version: version, program: program)
            _ = try reader.take(reader.remaining)
            return
        }
        self.init(
            role, version: version, program: program, generation: try reader.read(), listeners: try reader.read())
        _ = try reader.take(reader.remaining)
    }
}
