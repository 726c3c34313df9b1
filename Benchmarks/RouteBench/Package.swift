// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// Apart from meshload, which does not link the product.
import PackageDescription

let package = Package(
    name: "sockmesh-route-benchmark",
    dependencies: [.package(name: "sockmesh", path: "../..")],
    targets: [
        .target(name: "CCount"),
        .executableTarget(
            name: "routebench", dependencies: ["CCount", .product(name: "MeshModel", package: "sockmesh")],
            swiftSettings: [
                .swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny"),
                .enableUpcomingFeature("InternalImportsByDefault"), .enableUpcomingFeature("MemberImportVisibility"),
            ]),
    ]
)
