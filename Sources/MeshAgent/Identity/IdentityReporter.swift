// SPDX-License-Identifier: Apache-2.0

import Identity
import IdentityProviders
import MeshAdmin
import MeshModel
import TLSEngine

extension IdentityKeeper {
    /// For `meshctl identity`.
    func reports(_ request: IdentitiesRequest) -> [CertificateReport] {
        let now = now
        return entries.sorted { $0.key < $1.key }.filter { request.selects($0.key) }.map { id, entry in
            report(id, entry, at: now)
        }
    }

    private func report(_ id: SPIFFEID, _ entry: Entry, at now: UnixTime) -> CertificateReport {
        CertificateReport(
            identity: "\(id)", pods: entry.pods.map(\.description), state: Self.state(entry, at: now),
            provider: provider.name, alarming: entry.isAlarming(at: now), serial: entry.svid?.serial,
            notBefore: (entry.svid?.notBefore).map(Timestamp.init),
            notAfter: (entry.svid?.notAfter).map(Timestamp.init),
            nextRenewal: provider.schedule(of: id).map { Timestamp(max($0.nextAttempt, now)) }, error: entry.error,
            failingSince: entry.failingSince.map(Timestamp.init), chain: entry.svid.map { PEMWriter.text($0.chain) })
    }

    private static func state(_ entry: Entry, at now: UnixTime) -> CertificateReport.State {
        guard let svid = entry.svid else { return .missing }
        if svid.notAfter <= now { return .expired }
        return entry.error == nil ? .current : .renewalFails
    }

    /// For `meshctl status` and metrics.
    var summary: IdentitySummaryReport {
        let now = now
        return IdentitySummaryReport(
            provider: provider.name, trustDomain: "\(provider.trustDomain)", trouble: trouble,
            identities: entries.count,
            current: entries.values.count { ($0.svid?.notAfter).map { $0 > now } ?? false },
            alarming: entries.values.count { $0.isAlarming(at: now) },
            earliestExpiry: entries.values.compactMap { $0.svid?.notAfter }.min().map(Timestamp.init))
    }
}

extension IdentitiesRequest {
    func selects(_ id: SPIFFEID) -> Bool { namespace.map { id.workload?.namespace == $0[...] } ?? true }
}

extension Timestamp {
    init(_ time: UnixTime) {
        self.init(nanoseconds: time.seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue)
    }
}

extension AuthorityReport {
    init(_ description: AuthorityDescription) {
        self.init(
            trustDomain: "\(description.trustDomain)", file: description.file,
            generations: description.generations.map { generation in
                Generation(
                    stage: .init(generation.stage), root: .init(generation.root),
                    intermediate: generation.intermediate.map(Certificate.init))
            })
    }
}

extension AuthorityReport.Certificate {
    fileprivate init(_ issuer: AuthorityDescription.Issuer) {
        self.init(
            serial: issuer.serial, fingerprint: issuer.fingerprint, notBefore: Timestamp(issuer.notBefore),
            notAfter: Timestamp(issuer.notAfter), pem: issuer.pem)
    }
}

extension AuthorityReport.Stage {
    fileprivate init(_ stage: AuthorityDescription.Stage) {
        switch stage {
        case .announced: self = .announced
        case .signing: self = .signing
        case .retiring: self = .retiring
        }
    }
}
