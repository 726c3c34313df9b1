// SPDX-License-Identifier: Apache-2.0

/// A flat JSON object in the order its members were added; the form of every result.
struct JSONObject: CustomStringConvertible {
    private var members: [String] = []

    mutating func set(_ name: String, _ value: Int) { members.append("\"\(name)\":\(value)") }

    mutating func set(_ name: String, _ value: Double) {
        members.append("\"\(name)\":\(value.isFinite ? "\(value)" : "null")")
    }

    mutating func set(_ name: String, _ value: String) { members.append("\"\(name)\":\(Self.quoted(value))") }

    var description: String { "{\(members.joined(separator: ","))}" }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
