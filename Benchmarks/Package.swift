// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// A package of its own, so that what measures the product never becomes part of it.
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "sockmesh-benchmarks",
    dependencies: [.package(name: "sockmesh", path: "..")],
    targets: [
        .target(name: "CLoad"),
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
        .executableTarget(name: "meshload", dependencies: ["CLoad"], swiftSettings: settings),
        .testTarget(name: "meshloadTests", dependencies: ["meshload"], swiftSettings: settings),
    ]
)
