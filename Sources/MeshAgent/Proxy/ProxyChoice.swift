// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Which program is the node's proxy.
public enum ProxyChoice: Equatable, Sendable {
    /// The operator has named it, or it was found.
    case program(String)
    /// `--proxy none`.
    case off
    /// Nothing was said, and it is in none of these places.
    case missing([String])

    /// The word of `--proxy` for no proxy. A program of that name is `./none`.
    static let offWord = "none"
    /// File name of the program.
    static let name = "mesh-proxy"
    /// Where `scripts/install.sh` puts the programs if nobody says otherwise.
    static let installed = "/usr/local/bin"

    /// - Parameters:
    ///   - given: word of the command line.
    ///   - path: from the root, of what was said.
    init(_ given: String?, on machine: Machine, path: (String) -> String) {
        guard let given else {
            let places = Self.places(executable: machine.executable)
            self = places.first(where: machine.isProgram).map(Self.program) ?? .missing(places)
            return
        }
        self = given == Self.offWord ? .off : .program(path(given))
    }

    /// Where the program is looked for, best first: beside the agent's own, with which it was built, and where it is installed.
    private static func places(executable: String?) -> [String] {
        let installed = "\(installed)/\(name)"
        guard let slash = executable?.lastIndex(of: "/"), let directory = executable?[..<slash] else {
            return [installed]
        }
        let beside = "\(directory)/\(name)"
        return beside == installed ? [installed] : [beside, installed]
    }

    /// `nil`: none runs.
    public var program: String? {
        if case .program(let path) = self { path } else { nil }
    }

    /// Why none runs, and what to do for one; `nil`: one does.
    var lack: (reason: String, remedy: String)? {
        switch self {
        case .program: nil
        case .off: ("no node proxy runs (--proxy none)", "leave --proxy out, or name the program with it")
        case .missing(let places):
            (
                "no node proxy runs: \(Self.name) is not at \(places.joined(separator: " or "))",
                "install it there, or name it with --proxy"
            )
        }
    }

    /// That the agent does without a proxy which nobody has declined.
    var finding: Finding? {
        guard case .missing = self, let lack else { return nil }
        return Finding(
            .warning, "\(lack.reason); routes and policy of requests are not enforced",
            hint: "\(lack.remedy); --proxy none, if none is wanted")
    }
}
