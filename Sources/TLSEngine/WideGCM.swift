// SPDX-License-Identifier: Apache-2.0

internal import CIPSecMB
internal import COpenSSL
import Synchronization

/// AES-GCM of intel-ipsec-mb, in place of OpenSSL's where that does one block at a time and the processor can do four.
///
/// OpenSSL has such code since 3.1; with 3.0 it takes three times as long for a long record.
struct WideGCM: @unchecked Sendable {
    /// mesh_gcm_library: of the process, and not changed after ``loaded`` has made it.
    let library: OpaquePointer

    /// The library, whatever the processor can, or why there is none. Loaded when it is first asked for.
    static let loaded: Result<WideGCM, Absence> = {
        var why: UnsafePointer<CChar>?
        var isMissing = false
        guard let library = mesh_gcm_load(&why, &isMissing) else {
            return .failure(Absence(reason: why.map { String(cString: $0) } ?? "", isMissing: isMissing))
        }
        let gcm = WideGCM(library: library)
        return gcm.agreesWithOpenSSL
            ? .success(gcm) : .failure(Absence(reason: "intel-ipsec-mb \(gcm.version) makes other records"))
    }()

    private static let isInUse = Atomic(false)

    /// The one that records are made with; `nil`: OpenSSL makes them.
    static var inUse: WideGCM? { isInUse.load(ordering: .acquiring) ? try? loaded.get() : nil }

    /// Why OpenSSL makes the records.
    struct Absence: Error {
        let reason: String
        /// The library would make them faster here, and is not installed.
        var isMissing = false
    }

    /// Whether it does four blocks at a time on this processor.
    var isWide: Bool { mesh_gcm_is_wide(library) }

    var version: String { String(cString: mesh_gcm_version(library)) }

    /// Whether a record of each kind of key is the same as OpenSSL's, and is opened again. What the library tests of itself are
    /// functions that are not called here.
    private var agreesWithOpenSSL: Bool {
        let suites: [UInt16] = [0x1301, 0x1302]
        return suites.allSatisfy { id in
            [0, 1, 1111, 5000].allSatisfy { length in
                guard let sealed = Self.sample(id, self, length), let theirs = Self.sample(id, nil, length) else {
                    return false
                }
                return sealed == theirs
            }
        }
    }

    /// A record of so many bytes, which has been opened again, elsewhere and in its place.
    private static func sample(_ id: UInt16, _ gcm: WideGCM?, _ length: Int) -> [UInt8]? {
        guard let suite = TLSSuite(id: id, wide: gcm) else { return nil }
        let content = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let key = (0..<UInt8(suite.keyBytes)).map { $0 &* 7 }
        let vector = (0..<UInt8(12)).map { $0 &* 5 }
        guard let sender = RecordCipher.make(suite, key: key, isSending: true),
            let receiver = RecordCipher.make(suite, key: key, isSending: false)
        else { return nil }
        var record = [UInt8](repeating: 23, count: length + TLSTraffic.overhead)
        let isSealed = content.withUnsafeBytes { content in
            record.withUnsafeMutableBufferPointer { record in
                record.baseAddress.map { sender.seal(content, type: 22, vector: vector, to: $0) } ?? false
            }
        }
        var opened = [UInt8](repeating: 0, count: length + 1)
        guard isSealed, receiver.open(record, length: length + 1, vector: vector, to: &opened) == 22,
            opened.dropLast() == content[...]
        else { return nil }
        var copy = record
        let last = copy.withUnsafeMutableBufferPointer { copy in
            copy.baseAddress.flatMap {
                receiver.open($0, length: length + 1, vector: vector, to: $0 + TLSTraffic.headerBytes)
            }
        }
        return last == 22 && copy.dropFirst(TLSTraffic.headerBytes).prefix(length) == content[...] ? record : nil
    }

    /// From now on it makes the records of new connections.
    fileprivate static func use() { isInUse.store(true, ordering: .releasing) }
}

extension TLSLibrary {
    /// What makes records of AES-GCM.
    public struct RecordCiphers: Hashable, Sendable {
        /// What it is, and why, for people.
        public let description: String
        /// The package that would make them faster here, if it is missing.
        public let missing: String?
    }

    /// What a process makes records with that calls ``widen()``.
    public static var recordCiphers: RecordCiphers { RecordCiphers(WideGCM.chosen) }

    /// Has records made by intel-ipsec-mb if that is faster, for connections that are made from now on.
    ///
    /// To be called once, by a process that gives its rights up, before it does: the library is a file.
    public static func widen() -> RecordCiphers {
        let chosen = WideGCM.chosen
        if case .success = chosen { WideGCM.use() }
        return RecordCiphers(chosen)
    }
}

extension TLSLibrary.RecordCiphers {
    fileprivate init(_ chosen: Result<WideGCM, WideGCM.Absence>) {
        switch chosen {
        case .success(let gcm):
            description = "AES-GCM records by intel-ipsec-mb \(gcm.version), with AVX-512 and VAES"
            missing = nil
        case .failure(let absence):
            description = "AES-GCM records by OpenSSL: \(absence.reason)"
            missing = absence.isMissing ? "libipsec-mb1" : nil
        }
    }
}

extension WideGCM {
    fileprivate static var chosen: Result<WideGCM, Absence> {
        choose(
            openSSL: OpenSSL_version_num(), isItsOwn: TLSSuite.isOfDefaultProvider,
            isWideProcessor: mesh_gcm_processor_is_wide()
        ) { loaded }
    }

    /// - Parameters:
    ///   - openSSL: Its version, as `OpenSSL_version_num` has it.
    ///   - isItsOwn: Nobody has told OpenSSL to have ciphers come from another module, as for FIPS 140-3: that would be
    ///     evaded here.
    ///   - load: Called if it comes to that.
    static func choose(
        openSSL: UInt, isItsOwn: Bool, isWideProcessor: Bool, _ load: () -> Result<WideGCM, Absence>
    ) -> Result<WideGCM, Absence> {
        guard openSSL < 0x3010_0000 else { return .failure(Absence(reason: "it has such code of its own, since 3.1")) }
        guard isItsOwn else {
            return .failure(
                Absence(reason: "its configuration has ciphers come from another provider than the default one"))
        }
        guard isWideProcessor else { return .failure(Absence(reason: "the processor has no AVX-512 with VAES")) }
        return load().flatMap { gcm in
            gcm.isWide
                ? .success(gcm)
                : .failure(Absence(reason: "intel-ipsec-mb \(gcm.version) has nothing wider for this processor"))
        }
    }
}
