// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Identities for people: one line for each, and one for what fails.
enum CertificateText {
    static func render(_ certificates: [CertificateReport]) -> String {
        var table = Table("IDENTITY", "PODS", "STATE", "SERIAL", "NOT BEFORE", "NOT AFTER", "RENEWAL", "PROVIDER")
        for one in certificates {
            table.add(
                one.identity, one.pods.joined(separator: ", "), text(one.state) + (one.alarming ? " (!)" : ""),
                one.serial ?? "", one.notBefore.map(Units.second) ?? "", one.notAfter.map(Units.second) ?? "",
                one.nextRenewal.map(Units.second) ?? "", one.provider)
            guard let error = one.error else { continue }
            let since = one.failingSince.map { " (since \(Units.second($0)))" } ?? ""
            table.addContinuation("  \(error)\(since)", "", "", "", "", "", "", "")
        }
        return table.rendered(empty: "No identities.")
    }

    private static func text(_ state: CertificateReport.State) -> String {
        switch state {
        case .missing: "missing"
        case .current: "current"
        case .renewalFails: "renewal fails"
        case .expired: "expired"
        }
    }
}

/// An authority for people: one line for each certificate.
enum AuthorityText {
    static func render(_ authority: AuthorityReport) -> String {
        var fields = FieldList()
        fields.add("Trust domain", authority.trustDomain)
        fields.add("File", authority.file)
        var table = Table("CERTIFICATE", "STAGE", "NOT AFTER", "SHA-256")
        for generation in authority.generations {
            let root = generation.root
            table.add("root \(root.serial)", generation.stage.rawValue, Units.second(root.notAfter), root.fingerprint)
            guard let issuer = generation.intermediate else { continue }
            table.addContinuation(
                "  intermediate \(issuer.serial)", "", Units.second(issuer.notAfter), issuer.fingerprint)
        }
        return fields.rendered() + "\n" + table.rendered(empty: "")
    }

    static func join(_ report: JoinReport) -> String {
        var fields = FieldList()
        fields.add("Join file", report.file)
        fields.add("Node", report.node)
        fields.add("Authority", "\(report.authority), trust domain \(report.trustDomain)")
        for fingerprint in report.fingerprints { fields.add("Root (SHA-256)", fingerprint) }
        fields.add("Good until", "\(Units.second(report.expires)), for one key")
        return fields.rendered()
            + """

            Copy the file to the node, mode 0600, and start its agent with
              --identity join:FILE --trust-domain \(report.trustDomain)

            """
    }
}

extension AuthorityText {
    static func revocation(_ report: RevocationReport) -> String {
        var table = Table("REVOKED", "ON THE LISTS OF")
        for one in report.revoked { table.add(one.serial, one.issuers.joined(separator: ", ")) }
        var text = table.rendered(empty: "")
        text +=
            "\nIn \(report.file): read every 30 seconds by whoever keeps the authority, known to nodes in a minute.\n"
        if let since = report.revoked.compactMap(\.since).max() {
            text += """
                A leaf that was signed before \(Units.second(since)) is of another intermediate, and goes only with that one: \
                meshctl ca revoke --certificate says which.

                """
        }
        return text
    }
}

extension Units {
    /// `2026-11-25T21:09:08Z`: without parts of the second.
    static func second(_ time: Timestamp) -> String {
        let text = time.description
        return text.firstIndex(of: ".").map { "\(text[..<$0])Z" } ?? text
    }
}
