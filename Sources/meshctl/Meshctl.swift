// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdmin
import MeshVersion

/// The root of the command line.
struct Meshctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "meshctl",
        abstract: "Look at and change the service mesh of a node.",
        discussion: """
            Talks to the mesh-agent of this machine over its Unix socket. With several agents, choose one with --node or \
            --socket; both, and --output, are understood before or after the command.

            Exit status: 0 success, 1 failure, 2 usage, 3 no agent, 4 not permitted, 5 invalid input, 6 the answer is no \
            (with --exit-code), 7 timeout, 8 not found, 9 conflict. docs/errors.md explains each.

            Completion: meshctl --generate-completion-script bash > /etc/bash_completion.d/meshctl
            """,
        version: SockmeshVersion.current,
        subcommands: [
            Check.self, Status.self, Workloads.self, Services.self, Routes.self, Policy.self, Connections.self,
            Flows.self, Metrics.self, Identities.self, Authority.self, Run.self, Uninstall.self, Version.self,
        ])
}
