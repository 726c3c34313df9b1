// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// How long to wait, as people write it: `30`, `30s`, `500ms`, `2m`, `1h`.
struct WaitLimit: Equatable {
    let seconds: Double

    /// - Throws: ``AdminError`` `invalidRequest`.
    init(_ text: String) throws(AdminError) {
        let units: [(suffix: String, seconds: Double)] = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("", 1)]
        for unit in units where text.hasSuffix(unit.suffix) {
            guard let number = Double(text.dropLast(unit.suffix.count)), number > 0, number.isFinite else { continue }
            seconds = number * unit.seconds
            return
        }
        throw AdminError(.invalidRequest, "'\(text)' is not a time; write for example 30s, 500ms or 2m")
    }
}
