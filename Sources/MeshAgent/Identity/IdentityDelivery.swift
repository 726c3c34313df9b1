// SPDX-License-Identifier: Apache-2.0

import Identity
import IdentityProviders
import LinuxIO
import Logging
import ProxyProtocol
import TLSEngine

/// Carries identities from the keeper to the proxies, and back from a proxy that has outlived an agent.
///
/// They go in files in memory, which this side makes, and wipes when they have been read. Belongs to the control thread.
final class IdentityDelivery {
    /// Identities in one file.
    static let mostAtOnce = 256
    /// How long a proxy may take for an answer, and how long one of an agent before is waited for.
    static let patience = Duration.seconds(5)

    private struct Transfer {
        let file: SharedDescriptor
        weak var proxy: ProxyConnection?
        /// What the proxy has if it takes it not.
        let before: GivenIdentities
        let isQuestion: Bool
    }

    let keeper: IdentityKeeper
    private let loop: EventLoop
    private let logger: Logger
    private var open: [UInt32: Transfer] = [:]
    private var last: UInt32 = 0
    /// Those that are to be kept up to date. Weak: the supervisor has them.
    private var proxies: [ObjectIdentifier: Weak] = [:]

    private struct Weak {
        weak var proxy: ProxyConnection?
    }

    init(_ keeper: IdentityKeeper, on loop: EventLoop, logger: Logger) {
        self.keeper = keeper
        self.loop = loop
        self.logger = logger
        keeper.didChange = { [unowned self] _ in synchronize() }
        // Where no proxy comes, certificates are obtained all the same.
        loop.schedule(after: Self.patience) { [weak keeper] in keeper?.begin() }
    }

    // MARK: - What the supervisor tells

    /// A proxy has said hello.
    func opened(_ proxy: ProxyConnection, _ hello: Hello) {
        guard hello.version.hasIdentities else {
            logger.warning(
                "the proxy is too old for identities: it gets none before its program is replaced",
                metadata: ["pid": "\(proxy.pid)", "version": "\(hello.program)"])
            return
        }
        proxies[ObjectIdentifier(proxy)] = Weak(proxy: proxy)
        // One that has had no configuration has had no agent before.
        if hello.generation > 0 { ask(proxy) } else { know(proxy, nil) }
    }

    func closed(_ proxy: ProxyConnection) {
        proxies[ObjectIdentifier(proxy)] = nil
        for (number, transfer) in open where transfer.proxy === proxy { finish(number) }
    }

    /// The answer to a transfer.
    func answered(_ number: UInt32, refusal: String?) {
        guard let transfer = open[number], !transfer.isQuestion else { return }
        finish(number)
        guard let proxy = transfer.proxy else { return }
        if let refusal {
            logger.error(
                "the proxy refuses identities", metadata: ["pid": "\(proxy.pid)", "reason": "\(refusal)"])
            proxy.identities = transfer.before
            proxy.identities.refusal = refusal
        } else {
            proxy.identities.refusal = nil
            proxy.identities.confirmed = proxy.identities.serials.count
            // The rest, where there were more than go at once.
            synchronize(proxy)
        }
    }

    /// The answer to the question what the proxy has.
    func returned(_ number: UInt32) {
        guard let transfer = open[number], transfer.isQuestion, let proxy = transfer.proxy else { return }
        let returned = read(transfer.file)
        finish(number)
        know(proxy, returned)
    }

    // MARK: - Back from a proxy

    private struct Returned {
        let svids: [X509SVID]
        let trust: TrustMaterial?
    }

    private func ask(_ proxy: ProxyConnection) {
        guard let link = proxy.link, let number = begin(for: proxy, isQuestion: true) else { return know(proxy, nil) }
        proxy.identities.knowledge = .asked
        if let file = open[number]?.file { link.send(.identitiesRequest(number), [file]) }
    }

    private func know(_ proxy: ProxyConnection, _ returned: Returned?) {
        proxy.identities.knowledge = .known
        if let returned {
            proxy.identities.serials = Dictionary(
                returned.svids.map { ($0.id, $0.serial) }, uniquingKeysWith: { $1 })
            proxy.identities.trust = returned.trust
            proxy.identities.confirmed = returned.svids.count
        }
        if !keeper.hasBegun {
            if let returned, !returned.svids.isEmpty {
                logger.info(
                    "certificates of an earlier agent are taken over", metadata: ["count": "\(returned.svids.count)"])
            }
            keeper.begin(adopting: returned?.svids ?? [], returned?.trust)
        }
        synchronize(proxy)
    }

    private func read(_ file: SharedDescriptor) -> Returned? {
        do {
            let secret = try SecretBytes.read(file, atMost: LinkLimits().identityBytes)
            return try secret.withBytes { bytes throws -> Returned in
                let (transfer, keys) = try IdentityTransfer.read(bytes)
                var svids: [X509SVID] = []
                for (identity, key) in zip(transfer.identities, keys) {
                    svids.append(
                        try X509SVID(
                            chain: identity.chain, key: PrivateKey(pkcs8: UnsafeRawBufferPointer(rebasing: bytes[key]))
                        ))
                }
                return Returned(svids: svids, trust: try transfer.trust.map { record in try TrustMaterial(record) })
            }
        } catch {
            logger.warning("certificates of an earlier agent cannot be taken over", metadata: ["reason": "\(error)"])
            return nil
        }
    }

    // MARK: - To the proxies

    private func synchronize() {
        for proxy in proxies.values.compactMap(\.proxy) { synchronize(proxy) }
    }

    /// Sends what the proxy lacks; the rest after its answer.
    private func synchronize(_ proxy: ProxyConnection) {
        guard keeper.hasBegun, proxy.identities.knowledge == .known, let link = proxy.link, link.isOpen,
            !open.values.contains(where: { $0.proxy === proxy })
        else { return }
        let difference = proxy.identities.difference(
            to: keeper.entries.mapValues(\.svid), keeper.trust, atMost: Self.mostAtOnce)
        guard !difference.isEmpty, let number = begin(for: proxy, isQuestion: false), let file = open[number]?.file
        else { return }
        let transfer = IdentityTransfer(
            trust: difference.trust.map(TrustRecord.init), removed: difference.removed.map(\.description),
            identities: difference.issued.map { svid in
                .init(
                    id: svid.id.description, chain: svid.chain, keyBytes: svid.key.withPKCS8 { UInt32($0.count) })
            })
        do throws(SystemError) {
            try transfer.write(to: file) { (index, take) throws(SystemError) in
                try difference.issued[index].key.withPKCS8(take)
            }
        } catch {
            logger.error("identities cannot be sent to the proxy", metadata: ["error": "\(error)"])
            return finish(number)
        }
        proxy.identities.apply(difference)
        link.send(.identities(number), [file])
    }

    /// Makes the file of a transfer, which does not stay open for long.
    private func begin(for proxy: ProxyConnection, isQuestion: Bool) -> UInt32? {
        do throws(SystemError) {
            let file = try MemoryFile.make("sockmesh-identities")
            last &+= 1
            let number = last
            open[number] = Transfer(file: file, proxy: proxy, before: proxy.identities, isQuestion: isQuestion)
            loop.schedule(after: Self.patience) { [weak self] in self?.expire(number) }
            return number
        } catch {
            logger.error("no memory for identities", metadata: ["error": "\(error)"])
            return nil
        }
    }

    private func expire(_ number: UInt32) {
        guard let transfer = open[number] else { return }
        finish(number)
        guard let proxy = transfer.proxy else { return }
        logger.warning("the proxy does not answer about identities", metadata: ["pid": "\(proxy.pid)"])
        proxy.identities = transfer.before
        if transfer.isQuestion { know(proxy, nil) } else { synchronize(proxy) }
    }

    private func finish(_ number: UInt32) {
        guard let transfer = open.removeValue(forKey: number) else { return }
        MemoryFile.wipe(transfer.file)
    }
}

extension TrustRecord {
    init(_ trust: TrustMaterial) {
        self.init(
            trust.roots.map { Domain(name: $0.name, roots: $1, revocations: trust.revocations[$0] ?? []) })
    }
}

extension TrustMaterial {
    /// - Throws: ``SPIFFEIDError`` for a name that is none.
    init(_ record: TrustRecord) throws(SPIFFEIDError) {
        self.init(roots: [:])
        for domain in record.domains {
            let name = try TrustDomain(domain.name)
            roots[name] = domain.roots
            if !domain.revocations.isEmpty { revocations[name] = domain.revocations }
        }
    }
}

@available(*, unavailable)
extension IdentityDelivery: Sendable {}
