// swift-tools-version: 6.2
import PackageDescription

/// One list for every target: a rule that holds for one holds for all.
let settings: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
    ]
    // Only CI: a newer compiler with a new warning must not break a user's build.
    + (Context.environment["CI"] == nil ? [] : [.treatAllWarnings(as: .error)])

/// The tests put hundreds of thousands of random policies and packets through these. Optimised in debug builds too they
/// take a minute less; assertions stay. Not for the fuzz targets, which it would make two minutes more to build.
let optimized =
    settings
    + (Context.environment["MESH_FUZZ"] == nil
        ? [.unsafeFlags(["-O", "-assert-config", "Debug"], .when(configuration: .debug))] : [])

let package = Package(
    name: "sockmesh",
    products: [
        .executable(name: "mesh-agent", targets: ["mesh-agent"]),
        .executable(name: "mesh-proxy", targets: ["mesh-proxy"]),
        .executable(name: "meshctl", targets: ["meshctl"]),
        // For the packages of the fuzz targets and of the benchmarks.
        .library(name: "MeshManifests", targets: ["MeshManifests"]),
        .library(name: "L7Proxy", targets: ["L7Proxy"]),
        .library(name: "MeshModel", targets: ["MeshModel"]),
        .library(name: "LinuxIO", targets: ["LinuxIO"]),
        .library(name: "ProxyProtocol", targets: ["ProxyProtocol"]),
        .library(name: "Identity", targets: ["Identity"]),
        .library(name: "MeshAdmin", targets: ["MeshAdmin"]),
        .library(name: "TLSEngine", targets: ["TLSEngine"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // Values: no I/O, no C, no Foundation.
        .target(name: "MeshModel", swiftSettings: optimized),
        .target(name: "MeshVersion", swiftSettings: settings),
        .target(name: "Identity", swiftSettings: settings),

        // Mechanisms.
        .target(name: "CMeshABI"),
        .target(name: "CLinux", cSettings: [.define("_GNU_SOURCE")]),
        .systemLibrary(name: "CLibBPF", pkgConfig: "libbpf", providers: [.apt(["libbpf-dev", "libelf-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .target(name: "LinuxIO", dependencies: ["CLinux"], swiftSettings: settings),
        .target(name: "CIPSecMB"),
        .target(name: "TLSEngine", dependencies: ["Identity", "COpenSSL", "CIPSecMB"], swiftSettings: settings),
        .target(name: "SockOps", dependencies: ["CLibBPF", "CMeshABI", "LinuxIO"], swiftSettings: settings),
        .target(
            name: "IdentityProviders", dependencies: ["Identity", "TLSEngine", "LinuxIO"], swiftSettings: settings),
        .target(
            name: "MeshManifests",
            dependencies: ["MeshModel", .product(name: "Yams", package: "Yams")],
            swiftSettings: settings),
        .target(name: "MeshAdmin", dependencies: ["LinuxIO"], swiftSettings: settings),
        .target(
            name: "L7Proxy", dependencies: ["MeshModel", "LinuxIO", "Identity", "TLSEngine"],
            swiftSettings: settings),
        .target(
            name: "SocketFactory", dependencies: ["ProxyProtocol", "MeshModel", "LinuxIO"], swiftSettings: settings),
        .target(
            name: "ProxyProcess",
            dependencies: [
                "ProxyProtocol", "L7Proxy", "TLSEngine", "Identity", "MeshModel", "LinuxIO", "CMeshABI",
            ],
            swiftSettings: settings),
        .target(name: "ProxyProtocol", dependencies: ["MeshModel", "LinuxIO"], swiftSettings: settings),

        // Composition.
        .target(
            name: "MeshAgent",
            dependencies: [
                "MeshModel", "MeshManifests", "MeshAdmin", "MeshVersion", "LinuxIO", "SockOps", "CMeshABI",
                "ProxyProtocol", "Identity", "TLSEngine", "IdentityProviders",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: optimized),
        .executableTarget(
            name: "mesh-agent",
            dependencies: [
                "MeshAgent", "MeshAdmin", "MeshVersion", "SocketFactory", "LinuxIO",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "mesh-proxy",
            dependencies: [
                "ProxyProcess", "ProxyProtocol", "L7Proxy", "TLSEngine", "LinuxIO", "MeshVersion",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "meshctl",
            dependencies: [
                "MeshAgent", "MeshAdmin", "MeshVersion", "LinuxIO",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: settings),

        .target(name: "TestSupport", dependencies: ["MeshModel"], path: "Tests/TestSupport", swiftSettings: optimized),
        .testTarget(name: "MeshModelTests", dependencies: ["MeshModel", "TestSupport"], swiftSettings: settings),
        .testTarget(name: "IdentityTests", dependencies: ["Identity"], swiftSettings: settings),
        .testTarget(
            name: "TLSEngineTests", dependencies: ["TLSEngine", "Identity"], exclude: ["Fixtures", "Peer"],
            swiftSettings: settings),
        .testTarget(
            name: "IdentityProvidersTests", dependencies: ["IdentityProviders", "TLSEngine", "Identity", "LinuxIO"],
            swiftSettings: settings),
        .testTarget(name: "MeshManifestsTests", dependencies: ["MeshManifests", "MeshModel"], swiftSettings: settings),
        .target(
            name: "AdminTestSupport", dependencies: ["MeshAdmin", "LinuxIO"], path: "Tests/AdminTestSupport",
            swiftSettings: settings),
        .testTarget(name: "LinuxIOTests", dependencies: ["LinuxIO", "AdminTestSupport"], swiftSettings: settings),
        .testTarget(
            name: "SockOpsTests", dependencies: ["SockOps", "ProxyProcess", "CMeshABI", "LinuxIO"],
            exclude: ["Fixtures"], swiftSettings: settings),
        .systemLibrary(
            name: "CNGHTTP2", path: "Tests/CNGHTTP2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .testTarget(
            name: "L7ProxyTests",
            dependencies: ["L7Proxy", "MeshModel", "LinuxIO", "CNGHTTP2", "Identity", "TLSEngine"],
            exclude: ["HTTP1/Differential", "HTTP2/Peer"],
            swiftSettings: settings),
        .executableTarget(
            name: "confined-probe", dependencies: ["ProxyProcess", "ProxyProtocol", "L7Proxy", "MeshModel", "LinuxIO"],
            path: "Tests/ConfinedProbe", swiftSettings: settings),
        .executableTarget(
            name: "tunnel-probe", dependencies: ["L7Proxy", "TLSEngine", "Identity", "MeshModel", "LinuxIO"],
            path: "Tests/TunnelProbe", swiftSettings: settings),
        .testTarget(
            name: "ProxyProcessTests",
            dependencies: [
                "ProxyProcess", "ProxyProtocol", "L7Proxy", "TLSEngine", "Identity", "MeshModel", "LinuxIO", "CMeshABI",
                "confined-probe",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "SocketFactoryTests", dependencies: ["SocketFactory", "ProxyProtocol", "MeshModel", "LinuxIO"],
            swiftSettings: settings),
        .testTarget(
            name: "ProxyProtocolTests", dependencies: ["ProxyProtocol", "MeshModel", "LinuxIO", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "MeshAdminTests", dependencies: ["MeshAdmin", "LinuxIO", "AdminTestSupport"], swiftSettings: settings),
        .testTarget(
            name: "MeshctlTests", dependencies: ["meshctl", "MeshAdmin", "LinuxIO", "AdminTestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "MeshAgentTests",
            dependencies: [
                "MeshAgent", "MeshAdmin", "MeshModel", "MeshManifests", "SockOps", "LinuxIO", "CMeshABI", "TestSupport",
                "ProxyProtocol", "Identity", "TLSEngine", "IdentityProviders", "MeshVersion",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
    ]
)
