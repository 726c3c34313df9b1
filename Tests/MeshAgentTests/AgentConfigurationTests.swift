// SPDX-License-Identifier: Apache-2.0

import Identity
import MeshAdmin
import Testing

@testable import MeshAgent

@Suite struct AgentConfigurationTests {
    private static func machine(
        hostname: String = "Node-1.example", cgroup2: String? = "/cg", programs: Set<String> = []
    ) -> Machine {
        Machine(
            hostname: hostname, cgroup2Mount: cgroup2, currentDirectory: "/here", executable: "/opt/mesh-agent",
            isProgram: programs.contains, isDirectory: { ["/etc/sockmesh/node-1.example", "/here/demo"].contains($0) },
            groupNumber: { ["sockmesh": 500, "ops": 600][$0] })
    }

    private static func problems(
        _ machine: Machine = machine(), _ change: (inout AgentOptions) -> Void
    ) -> [ConfigurationError.Problem] {
        var options = AgentOptions()
        change(&options)
        do throws(ConfigurationError) {
            _ = try AgentConfiguration(options, on: machine)
            return []
        } catch {
            return error.problems
        }
    }

    @Test func everythingFollowsFromTheMachine() throws {
        let configuration = try AgentConfiguration(AgentOptions(), on: Self.machine())
        #expect(configuration.node == "node-1.example")
        #expect(configuration.configDirectory == "/etc/sockmesh/node-1.example")
        #expect(configuration.stateDirectory == "/var/lib/sockmesh/node-1.example")
        #expect(configuration.cgroup == "/cg/sockmesh/node-1.example")
        #expect(configuration.bpffs == "/sys/fs/bpf/sockmesh/node-1.example")
        #expect(configuration.socket == "/run/sockmesh/node-1.example.sock")
        let readers = AdminGroup(name: "sockmesh", number: 500)
        #expect(configuration.authorization == AdminAuthorization(adminGroup: readers, writeGroup: nil))
        #expect(configuration.logFormat == .text)
        #expect(configuration.logLevel == .info)
    }

    @Test func whatTheOperatorSaysWins() throws {
        var options = AgentOptions()
        options.node = "n2"
        options.configDirectory = "demo"
        options.stateDirectory = "/state//x/../y/"
        options.cgroup = "/cg/pods"
        options.bpffs = "/b/"
        options.socket = "s.sock"
        options.adminGroup = "ops"
        options.writeGroup = "77"
        let configuration = try AgentConfiguration(options, on: Self.machine())
        #expect(configuration.configDirectory == "/here/demo")
        #expect(configuration.stateDirectory == "/state/y")
        #expect(configuration.cgroup == "/cg/pods")
        #expect(configuration.bpffs == "/b")
        #expect(configuration.socket == "/here/s.sock")
        #expect(configuration.authorization.adminGroup == AdminGroup(name: "ops", number: 600))
        #expect(configuration.authorization.writeGroup == AdminGroup(name: "77", number: 77))
    }

    @Test func withoutAConfigDirectoryThereIsNone() throws {
        let configuration = try AgentConfiguration(AgentOptions(), on: Self.machine(hostname: "other"))
        #expect(configuration.configDirectory == nil)
    }

    @Test(arguments: ["", "A", "a b", "-a", "a-", "a..b", ".a", "a/b", "a_b", String(repeating: "a", count: 254)])
    func aNodeNameMustBeAKubernetesName(name: String) {
        let problems = Self.problems { $0.node = name }
        #expect(problems.contains { $0.flag == "--node" })
    }

    @Test func everyProblemIsReportedAtOnce() {
        let problems = Self.problems {
            $0.configDirectory = "/nowhere"
            $0.cgroup = "/elsewhere"
            $0.socket = "/" + String(repeating: "s", count: 107)
            $0.adminGroup = "nobody-knows"
            $0.writeGroup = "-1"
        }
        #expect(problems.map(\.flag) == ["--config-dir", "--cgroup", "--socket", "--admin-group", "--write-group"])
        #expect(problems[0].description.contains("/nowhere is not a directory"))
        #expect(problems[1].message.contains("mounted on /cg"))
        #expect(problems.allSatisfy { !$0.hint.isEmpty })
    }

    @Test func podsHaveCertificatesOnlyIfTheOperatorWants() throws {
        let usual = try AgentConfiguration(AgentOptions(), on: Self.machine())
        #expect(usual.identity == nil)
        #expect(usual.trustDomain.name == "cluster.local")
        #expect(usual.authority.file == "/var/lib/sockmesh/node-1.example/authority.pem")
        #expect(usual.authority.revocationFile == "/var/lib/sockmesh/node-1.example/revoked.pem")
        var options = AgentOptions()
        options.trustDomain = "mesh.test"
        #expect(try AgentConfiguration(options, on: Self.machine()).trustDomain.name == "mesh.test")
        options.proxy = "/usr/bin/mesh-proxy"
        options.identity = IdentityChoice("join:/etc/n1.join")
        #expect(try AgentConfiguration(options, on: Self.machine()).identity == .joined(file: "/etc/n1.join"))
        #expect(IdentityChoice("local") == .local)
        for text in ["", "join", "join:", "Local"] { #expect(IdentityChoice(text) == nil) }
        let problems = Self.problems {
            $0.trustDomain = "Mesh"
            $0.identity = .local
        }
        #expect(problems.map(\.flag) == ["--trust-domain", "--identity"])
        #expect(problems[0].message.contains("upper-case letter 'M'"))
        #expect(problems[1].message.contains("no node proxy runs"))
        #expect(problems.allSatisfy { !$0.hint.isEmpty })
    }

    /// Nothing of it is loaded into the kernel.
    @Test func anAuthorityNeedsNoCgroups() throws {
        var options = AgentOptions()
        options.stateDirectory = "/state"
        options.trustDomain = "mesh.test"
        let machine = Self.machine(cgroup2: nil)
        let authority = try AuthorityConfiguration(options, on: machine)
        #expect(authority.file == "/state/authority.pem" && authority.trustDomain.name == "mesh.test")
        #expect(authority.node == "node-1.example" && authority.configDirectory == "/etc/sockmesh/node-1.example")
        #expect(try AgentConfiguration(options, on: Self.machine()).authority == authority)
        #expect(Self.problems(machine) { $0 = options }.map(\.flag) == ["--cgroup"])
        options.trustDomain = "Mesh"
        options.configDirectory = "/nowhere"
        let error = #expect(throws: ConfigurationError.self) {
            _ = try AuthorityConfiguration(options, on: machine)
        }
        #expect(error?.problems.map(\.flag) == ["--config-dir", "--trust-domain"])
    }

    private static func choice(_ words: String?, programs: Set<String> = []) throws -> ProxyChoice {
        var options = AgentOptions()
        options.proxy = words
        return try AgentConfiguration(options, on: machine(programs: programs)).proxyChoice
    }

    @Test func aProxyRunsUnlessTheOperatorWantsNone() throws {
        let both: Set = ["/opt/mesh-proxy", "/usr/local/bin/mesh-proxy"]
        #expect(try Self.choice(nil, programs: both) == .program("/opt/mesh-proxy"))
        #expect(try Self.choice(nil, programs: ["/usr/local/bin/mesh-proxy"]) == .program("/usr/local/bin/mesh-proxy"))
        #expect(try Self.choice("none", programs: both) == .off)
        #expect(try Self.choice("./none", programs: both) == .program("/here/none"))
        // Named, it is not replaced by another that exists.
        #expect(try Self.choice("p", programs: both).program == "/here/p")
    }

    @Test func aProxyThatIsNotThereIsReported() throws {
        let missing = try Self.choice(nil)
        #expect(missing == .missing(["/opt/mesh-proxy", "/usr/local/bin/mesh-proxy"]) && missing.program == nil)
        let finding = try #require(missing.finding)
        #expect(finding.severity == .warning)
        #expect(finding.message.contains("not at /opt/mesh-proxy or /usr/local/bin/mesh-proxy"))
        #expect(finding.hint?.contains("--proxy none") == true)
        // What was declined, and what runs, is no finding.
        #expect(try Self.choice("none").finding == nil && Self.choice("/p").finding == nil)
        let problems = Self.problems {
            $0.proxyOptions = ProxyOptions(workers: 2)
            $0.identity = .local
        }
        #expect(problems.map(\.flag) == ["--proxy-workers", "--identity"])
        #expect(problems.allSatisfy { $0.message.contains("/opt/mesh-proxy") && $0.hint.contains("install it") })
        var alone = Self.machine()
        alone.executable = nil
        #expect(ProxyChoice(nil, on: alone) { $0 } == .missing(["/usr/local/bin/mesh-proxy"]))
    }

    @Test func theRootOfTheHierarchyIsNotOurs() {
        #expect(Self.problems { $0.cgroup = "/cg" }.first?.message.contains("every process") == true)
        #expect(Self.problems { $0.cgroup = "/cg/a/.." }.first?.message.contains("every process") == true)
        #expect(Self.problems { $0.cgroup = "/cgroup" }.first?.message.contains("not in the cgroup v2") == true)
        let bare = Self.problems(Self.machine(cgroup2: nil)) { _ in }
        #expect(bare.first?.hint.contains("mount -t cgroup2") == true)
    }
}
