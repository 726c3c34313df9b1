// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// Benchmarks of parts of the product alone: no pods, no kernel path.
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "sockmesh-parts",
    dependencies: [.package(name: "sockmesh", path: "../..")],
    targets: [
        .target(name: "CMallocCount"),
        .executableTarget(
            name: "h1bench", dependencies: ["CMallocCount", .product(name: "L7Proxy", package: "sockmesh")],
            swiftSettings: settings),
        .executableTarget(
            name: "h2bench", dependencies: ["CMallocCount", .product(name: "L7Proxy", package: "sockmesh")],
            swiftSettings: settings),
        .executableTarget(
            name: "l7bench",
            dependencies: [
                "CMallocCount", .product(name: "L7Proxy", package: "sockmesh"),
                .product(name: "LinuxIO", package: "sockmesh"), .product(name: "MeshModel", package: "sockmesh"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "routebench", dependencies: ["CMallocCount", .product(name: "MeshModel", package: "sockmesh")],
            swiftSettings: settings),
    ]
)
