// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// A node's state for people.
enum StatusText {
    static func render(_ status: StatusReport) -> String {
        var fields = FieldList()
        fields.add("Node", status.node)
        fields.add("Agent", "\(status.version), pid \(status.pid), up \(Units.seconds(status.uptimeSeconds))")
        fields.add("Ready", status.ready ? "yes" : "no: \(status.notReady.joined(separator: "; "))")
        fields.add("Generation", "\(status.generation)")
        fields.add("Kernel", status.kernel)
        fields.add(
            "Acceleration",
            status.acceleration.enabled ? "on" : "off: \(status.acceleration.reason ?? "no reason given")")
        let count = status.workloads
        fields.add("Workloads", "\(count.enabled) enabled, \(count.pending) pending, \(count.failed) failed")
        if let proxy = status.proxy { addProxy(proxy, to: &fields) }
        if let identity = status.identity { addIdentity(identity, to: &fields) }
        fields.add("Config", status.paths.configDirectory ?? "none; only what was applied")
        fields.add("State", status.paths.stateDirectory)
        fields.add("Cgroup", status.paths.cgroup)
        fields.add("BPF", status.paths.bpffs)
        fields.add("Socket", status.paths.socket)
        var text = fields.rendered()

        let failed = status.acceleration.selfTest.filter { $0.outcome != .passed }
        if !failed.isEmpty { text += "\n" + CheckText.render(failed) }

        var counters = Table("COUNTER", ">VALUE", "MEANING")
        for counter in status.counters where counter.value > 0 {
            counters.add(counter.name, "\(counter.value)", counter.meaning)
        }
        if !counters.isEmpty { text += "\n" + counters.rendered(empty: "") }

        var maps = Table("MAP", ">ENTRIES", ">CAPACITY", ">FULL")
        for map in status.maps where map.entries > 0 {
            let share = map.capacity == 0 ? 0 : Double(map.entries) * 100 / Double(map.capacity)
            maps.add(map.name, "\(map.entries)", "\(map.capacity)", "\(Units.oneDecimal(share))%")
        }
        if !maps.isEmpty { text += "\n" + maps.rendered(empty: "") }

        if !status.findings.isEmpty {
            text += "\nFindings\n" + status.findings.map { "  \($0)\n" }.joined()
        }
        return text
    }

    private static func addProxy(_ report: ProxySupervisionReport, to fields: inout FieldList) {
        func restarts(_ count: UInt64) -> String { count == 0 ? "" : ", restarted \(count) times" }
        for proxy in report.proxies {
            let version = proxy.version.isEmpty ? "" : "\(proxy.version), "
            var text = "\(version)pid \(proxy.pid), \(proxy.state.rawValue), generation \(proxy.generation)"
            text += " of \(report.generation)\(restarts(report.proxyRestarts))"
            if let rejection = proxy.rejection { text += "; refuses the next: \(rejection)" }
            if let count = proxy.identities { text += ", \(count) identities" }
            if let refusal = proxy.identityRefusal { text += "; refuses identities: \(refusal)" }
            fields.add("Proxy", text)
        }
        if report.proxies.isEmpty { fields.add("Proxy", "none\(restarts(report.proxyRestarts))") }
        let factory = report.factory.map { "pid \($0.pid), \($0.ready ? "ready" : "starting")" } ?? "none"
        fields.add("Factory", "\(factory), \(report.listeners) listeners\(restarts(report.factoryRestarts))")
    }

    private static func addIdentity(_ report: IdentitySummaryReport, to fields: inout FieldList) {
        var text = "\(report.current) of \(report.identities) of \(report.trustDomain) current"
        if report.alarming > 0 { text += "; \(report.alarming) failing, see meshctl identity" }
        if let expiry = report.earliestExpiry { text += ", the first expires \(Units.second(expiry))" }
        if let trouble = report.trouble { text += "; \(trouble)" }
        fields.add("Identities", text)
        fields.add("Provider", report.provider)
    }

    /// One line while somebody waits.
    static func waiting(_ status: StatusReport) -> String {
        "\(status.node): \(status.ready ? "ready" : status.notReady.joined(separator: "; "))"
    }
}
