// swift-tools-version: 6.2
// A package of its own: libFuzzer's flags must never reach the product. Build it with scripts/fuzz.sh.
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // libFuzzer brings main().
    .unsafeFlags(["-parse-as-library"]),
]

let package = Package(
    name: "sockmesh-fuzz",
    dependencies: [.package(name: "sockmesh", path: "..")],
    targets: [
        .executableTarget(
            name: "FuzzManifests",
            dependencies: [.product(name: "MeshManifests", package: "sockmesh")],
            swiftSettings: settings),
        .executableTarget(
            name: "FuzzProxyProtocol",
            dependencies: [
                .product(name: "ProxyProtocol", package: "sockmesh"), .product(name: "MeshModel", package: "sockmesh"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "FuzzAdmin",
            dependencies: [.product(name: "MeshAdmin", package: "sockmesh")],
            swiftSettings: settings),
        .executableTarget(
            name: "FuzzFields",
            dependencies: [
                .product(name: "L7Proxy", package: "sockmesh"), .product(name: "MeshModel", package: "sockmesh"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "FuzzIdentity",
            dependencies: [.product(name: "Identity", package: "sockmesh")],
            swiftSettings: settings),
        .executableTarget(
            name: "FuzzHTTP1",
            dependencies: [.product(name: "L7Proxy", package: "sockmesh")],
            swiftSettings: settings),
        .executableTarget(
            name: "FuzzHBONE",
            dependencies: [
                .product(name: "L7Proxy", package: "sockmesh"), .product(name: "MeshModel", package: "sockmesh"),
                .product(name: "TLSEngine", package: "sockmesh"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "FuzzHTTP2",
            dependencies: [.product(name: "L7Proxy", package: "sockmesh")],
            swiftSettings: settings),
    ]
)
