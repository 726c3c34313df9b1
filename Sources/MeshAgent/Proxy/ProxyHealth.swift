// SPDX-License-Identifier: Apache-2.0
import Logging
import MeshAdmin
import MeshVersion

/// What there is to say of a node's proxy that does not serve, does not stay up, or is of another release.
struct ProxyHealth {
    /// The executable.
    var program: String
    /// As ``ProxySupervisor/isServing``.
    var isServing: Bool?
    /// How often in a row it has ended soon after its start.
    var failures = 0
    /// How the last one has ended that nobody wanted to end; `nil`: none has.
    var lastEnd: String?
    /// Of the one that serves, or is about to; `nil`: it has not said.
    var version: String?
    var agentVersion: String

    /// So many ends soon after a start are no accident.
    private static let fewFailures = 2

    /// Why the node is not ready; `nil`: it is, as far as the proxy goes.
    func notReady(_ needs: ProxyNeeds) -> String? {
        switch isServing {
        case true?: return nil
        // It judges requests by what the agent before has told it.
        case nil: return "the proxy of an earlier agent has not taken the configuration yet"
        case false?:
            guard !needs.isEmpty else { return nil }
            let what = needs.what.joined(separator: ", ")
            return "\(trouble ?? "the node's proxy is starting"); it is needed for \(what): "
                + "refused, or without effect, until it serves"
        }
    }

    /// What is wrong, though the node may be ready.
    var findings: [Finding] {
        var findings: [Finding] = []
        if isServing == true, failures >= Self.fewFailures {
            findings.append(
                Finding(
                    .warning,
                    "degraded: the node's proxy does not stay up: \(times), the last time: \(lastEnd ?? "not known")",
                    hint: hint))
        } else if isServing == false, let trouble {
            findings.append(Finding(.warning, "degraded: \(trouble)", hint: hint))
        }
        if let version, version != agentVersion {
            findings.append(
                Finding(
                    .warning,
                    "the node's proxy, \(program), is of version \(version), and the agent of \(agentVersion): what only "
                        + "one of them knows does not work", hint: Self.oneRelease))
        }
        return findings
    }

    private static let oneRelease =
        "install both from one release and send the agent SIGHUP, or name the program with --proxy"

    private var times: String { failures == 1 ? "it has ended once" : "it has ended \(failures) times in a row" }

    /// `nil`: it is only about to start.
    private var trouble: String? {
        lastEnd.map { "the node's proxy, \(program), does not run: \($0) (\(times))" }
    }

    private var hint: String {
        "its own words are in the agent's log; mend or replace \(program), which is started again every few seconds, or "
            + "name another program with --proxy and restart the agent"
    }
}

extension ProxySupervisor {
    var health: ProxyHealth {
        ProxyHealth(
            program: configuration.proxyProgram, isServing: isServing, failures: supervision.proxyFailures(at: age),
            lastEnd: lastEnd?.description,
            version: supervision.current.flatMap { proxies[$0]?.version }.flatMap { $0.isEmpty ? nil : $0 },
            agentVersion: SockmeshVersion.current)
    }

    /// A program that was found where it was installed once may be of another release than the agent. One that an earlier
    /// agent has started is replaced, if it can be.
    func noteVersion(_ version: String, of proxy: ProxyConnection) {
        guard version != SockmeshVersion.current, !proxy.isFound else { return }
        logger.warning(
            "the proxy is of another version than the agent: install both from one release",
            metadata: [
                "program": "\(configuration.proxyProgram)", "pid": "\(proxy.pid)", "version": "\(version)",
                "agent": "\(SockmeshVersion.current)",
            ])
    }

    /// The time of a proxy that was to serve by now is over.
    func noteLate(_ timer: ProxySupervision.Timer) {
        guard case .patience(let id) = timer, let proxy = proxies[id], supervision.phases[id] != .draining else {
            return
        }
        let how = "it did not put its configuration in force within \(ProxySupervision.patience), and was killed"
        lastEnd = ProxyEnd(how)
        logger.error("a proxy is given up", metadata: ["pid": "\(proxy.pid)", "why": "\(how)"])
    }
}
