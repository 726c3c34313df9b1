// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// A package of its own, so that what measures the product never becomes part of it: the load tool does not link it, and is
// built in seconds. What does is in Parts.
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "sockmesh-benchmarks",
    targets: [
        .target(name: "CLoad"),
        .executableTarget(name: "meshload", dependencies: ["CLoad"], swiftSettings: settings),
        .testTarget(name: "meshloadTests", dependencies: ["meshload"], swiftSettings: settings),
    ]
)
