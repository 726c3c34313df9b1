// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import LinuxIO
import MeshAdmin

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run a command inside a pod: in its network namespace and under the mesh.",
        discussion: """
            Waits until the policy of the pod is in force: nothing is started in a pod that is pending or failed without \
            it. Becomes the command, so that its exit status and signals are its own. If it cannot be started, the exit \
            status is 125 (meshctl failed, or the pod did not become enabled in time), 126 (cannot be executed) or 127 \
            (not found).
            """)

    @OptionGroup var agent: AgentAddress

    @Option(help: ArgumentHelp("The pod.", valueName: "namespace/name"))
    var pod: String

    @Option(help: ArgumentHelp("Run the command as this user instead of root.", valueName: "name"))
    var user: String?

    @Option(
        help: ArgumentHelp(
            "How long to wait for the pod's policy, for example 30s or 2m; 10s if not given.", valueName: "time"),
        transform: { try WaitLimit($0) })
    var timeout: WaitLimit?

    @Flag(help: "Give the command a /sys of the namespace and the files of /etc/netns/NAME, as ip netns exec does.")
    var netnsMounts = false

    @Argument(
        parsing: .postTerminator, help: ArgumentHelp("The command and its arguments, after --.", valueName: "command"))
    var command: [String] = []

    func validate() throws {
        if command.isEmpty { throw ValidationError("Nothing to run: give a command after --.") }
    }

    func run() throws {
        do throws(AdminError) {
            try enter()
        } catch {
            Console.printError(error)
            throw ExitStatus.notStarted
        }
        let failure = PodEntry.execute(command)
        Console.write(
            "meshctl: cannot run '\(command[0])': \(SystemError.message(of: failure.errnoCode))\n", to: STDERR_FILENO)
        throw failure.errnoCode == ENOENT ? ExitStatus.commandNotFound : ExitStatus.notExecutable
    }

    private func enter() throws(AdminError) {
        let (namespace, name) = try PolicyName.split(pod)
        guard geteuid() == 0 else {
            throw AdminError(
                .permissionDenied, "entering the namespace and cgroup of a pod needs root",
                hint: "run it as root; --user gives the command another user")
        }
        var account: Accounts.User?
        if let user {
            // Before the namespace: the name service may need the network of the node.
            guard let found = Accounts.user(user) else {
                throw AdminError(.notFound, "there is no user '\(user)'")
            }
            account = found
        }
        let target = try prepare(namespace: namespace, name: name)
        do throws(SystemError) {
            try PodEntry.enter(cgroup: target.cgroup, netns: target.netns, cookie: target.netnsCookie)
            if netnsMounts { try PodEntry.mountFiles(ofNamespace: target.netns) }
            if let account { try PodEntry.become(account) }
        } catch {
            throw AdminError(.failed, "cannot enter pod \(pod): \(error)")
        }
    }

    /// Asks again as long as the pod is not enrolled: it may have been created a moment ago.
    private func prepare(namespace: String, name: String) throws(AdminError) -> RunTarget {
        let limit = Duration.seconds(timeout?.seconds ?? Self.patience)
        let deadline = ContinuousClock.now + limit
        var progress = ProgressLine()
        defer { progress.clear() }
        while true {
            do throws(AdminError) {
                var client = try agent.connect()
                let target = try client.one(PrepareRunRequest(namespace: namespace, name: name))
                progress.clear()
                if target.redirection.state == .failed {
                    Console.write("meshctl: warning: pod \(pod) is \(target.redirection.text)\n", to: STDERR_FILENO)
                }
                return target
            } catch {
                guard error.code == .busy else { throw error }
                guard ContinuousClock.now < deadline else {
                    throw AdminError(.timeout, "\(error.message), after \(limit)", hint: error.hint)
                }
                progress.show(error.message)
                usleep(50_000)
            }
        }
    }

    /// In seconds: longer than an enrolment takes, short enough for a person who has made a mistake.
    private static let patience = 10.0
}
