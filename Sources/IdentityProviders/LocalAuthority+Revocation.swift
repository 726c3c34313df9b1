// SPDX-License-Identifier: Apache-2.0

public import Identity
import LinuxIO
public import TLSEngine

/// A certificate that is to be taken back.
public enum RevocationSubject: Sendable {
    /// Of a leaf, or of an intermediate that the authority has.
    case serial(CertificateSerial)
    /// DER.
    case certificate([UInt8])
}

/// Why a certificate is not taken back, and what to do instead.
public struct RevocationRefusal: Error, Equatable, Sendable {
    public let reason: String
    public let hint: String?
    /// It could be, if something was done first.
    public let isConflict: Bool

    init(_ reason: String, hint: String? = nil, isConflict: Bool = false) {
        self.reason = reason
        self.hint = hint
        self.isConflict = isConflict
    }
}

/// A certificate that was taken back.
public struct Revocation: Equatable, Sendable {
    public let serial: CertificateSerial
    /// Serial number of the certificate that has signed it. Of a bare serial number all that can have: what the authority has.
    public let issuers: [String]
    /// Of a bare serial number: a certificate that was signed before has another issuer, whose key is gone.
    public let since: UnixTime?

    init(serial: CertificateSerial, issuers: [String], since: UnixTime? = nil) {
        self.serial = serial
        self.issuers = issuers
        self.since = since
    }
}

extension LocalAuthority {
    /// Takes certificates back: puts them on the lists in the file `revocations`, which whoever keeps the authority reads.
    ///
    /// The authority's file is only read, so it may be in use. All or nothing.
    ///
    /// - Parameters:
    ///   - path: of the authority's file.
    /// - Throws: ``RevocationRefusal``
    public static func revoke(
        _ subjects: [RevocationSubject], of path: String, _ trustDomain: TrustDomain, in revocations: String,
        at now: UnixTime
    ) throws(RevocationRefusal) -> [Revocation] {
        do {
            guard let generations = try AuthorityFile(path: path, trustDomain: trustDomain).read() else {
                throw RevocationRefusal("there is no authority in \(path)")
            }
            // Two at a time would lose what one of them has written.
            guard let lock = try FileLock.take(revocations + ".lock", makesFile: true) else {
                throw RevocationRefusal("somebody else is writing \(revocations)", hint: "try again", isConflict: true)
            }
            var file = RevocationFile(path: revocations, trustDomain: trustDomain)
            try file.load()
            var done: [Revocation] = []
            for subject in subjects { done.append(try revoke(subject, generations, &file, at: now)) }
            file.tidy(keeping: generations, dueBefore: now - AuthorityLifetimes.shared.intermediate)
            try file.write()
            _ = consume lock
            return done
        } catch let refusal as RevocationRefusal {
            throw refusal
        } catch { throw RevocationRefusal("\(error)") }
    }

    private static func revoke(
        _ subject: RevocationSubject, _ generations: [AuthorityGeneration], _ file: inout RevocationFile,
        at now: UnixTime
    ) throws -> Revocation {
        switch subject {
        case .serial(let serial):
            if let own = try intermediate(serial, generations) {
                return try revoke(Certificate(der: own), generations, &file, at: now)
            }
            var issuers: [String] = []
            for generation in generations {
                // It may be an intermediate's that was replaced.
                try file.add([serial], by: generation.root, at: now)
                issuers.append(generation.root.certificate.serial)
                try generation.withIntermediate { issuer in
                    try file.add([serial], by: issuer, at: now)
                    issuers.append(issuer.certificate.serial)
                }
            }
            return Revocation(
                serial: serial, issuers: issuers, since: generations.last { $0.times.signs }?.times.intermediateMade)
        case .certificate(let der): return try revoke(Certificate(der: der), generations, &file, at: now)
        }
    }

    /// The intermediate of this number, DER, if there is one.
    private static func intermediate(
        _ serial: CertificateSerial, _ generations: [AuthorityGeneration]
    ) throws(RevocationRefusal) -> [UInt8]? {
        for generation in generations {
            guard CertificateSerial(generation.root.certificate.serial) != serial else { throw ofRoot(serial) }
            let isMeant = generation.withIntermediate { CertificateSerial($0.certificate.serial) == serial }
            if isMeant == true { return generation.withIntermediate { $0.certificate.der } }
        }
        return nil
    }

    private static func revoke(
        _ certificate: borrowing Certificate, _ generations: [AuthorityGeneration], _ file: inout RevocationFile,
        at now: UnixTime
    ) throws -> Revocation {
        guard let serial = CertificateSerial(certificate.serial) else {
            throw RevocationRefusal("the certificate has no serial number that a list can have")
        }
        if generations.contains(where: { $0.root.certificate.serial == certificate.serial }) { throw ofRoot(serial) }
        let signing = generations.last { $0.times.signs }?.withIntermediate { $0.certificate.fingerprint }
        guard certificate.fingerprint != signing else {
            throw RevocationRefusal(
                "the intermediate \(serial) signs now, and all that it has signed would be cut off",
                hint: "meshctl ca rotate --intermediate first, then meshctl identity --renew on the nodes",
                isConflict: true)
        }
        for generation in generations {
            if generation.root.hasSigned(certificate) {
                try file.add([serial], by: generation.root, at: now)
                return Revocation(serial: serial, issuers: [generation.root.certificate.serial])
            }
            let isDone = try generation.withIntermediate { issuer in
                guard issuer.hasSigned(certificate) else { return false }
                try file.add([serial], by: issuer, at: now)
                return true
            }
            if isDone == true {
                let issuer = generation.withIntermediate { $0.certificate.serial } ?? ""
                return Revocation(serial: serial, issuers: [issuer])
            }
        }
        throw RevocationRefusal(
            "the authority has no key of the issuer of \(serial)",
            hint:
                "an intermediate that was replaced can itself be taken back, with all that it has signed: give its serial "
                + "number, or its certificate, the second of the chain; nodes that still have one of it need a new join file"
        )
    }

    private static func ofRoot(_ serial: CertificateSerial) -> RevocationRefusal {
        RevocationRefusal(
            "\(serial) is a root, which no list can take back", hint: "meshctl ca rotate takes it out of the bundle")
    }
}
