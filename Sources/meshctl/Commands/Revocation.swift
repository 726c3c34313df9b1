// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdmin
import MeshAgent

extension Authority {
    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "revoke", abstract: "Take certificates back before they expire.",
            discussion: """
                Give serial numbers, as `meshctl identity` lists them, or files with certificates. Say it on the machine \
                that has the authority's state directory, whether somebody keeps the authority or not. Every node knows \
                within a minute, refuses these certificates and ends connections that were made with them. A pod that \
                still runs has another one when its own is renewed, or when `meshctl identity --renew` is said on its \
                node; take it out of the mesh first if it must not.

                The lists are in revoked.pem of the state directory. They name a certificate for good, and a serial \
                number too that no certificate has: the authority does not keep what it has signed.
                """)

        @OptionGroup var agent: AgentAddress
        @OptionGroup var place: AuthorityPlace
        @OptionGroup var output: OutputOptions

        @Argument(help: ArgumentHelp("Serial numbers in hexadecimal.", valueName: "serial"))
        var serials: [String] = []

        @Option(
            name: .long,
            help: ArgumentHelp(
                "A PEM file whose first certificate is meant; may be given several times.", valueName: "path"))
        var certificate: [String] = []

        func validate() throws {
            if serials.isEmpty && certificate.isEmpty {
                throw ValidationError("give serial numbers, or --certificate")
            }
        }

        func run() throws {
            let machine = try Machine.current()
            let report = try place.keeper(agent).revoke(
                serials: serials, certificates: certificate.map(machine.absolute))
            try Console.print(report, as: output.output, table: AuthorityText.revocation)
        }
    }
}
