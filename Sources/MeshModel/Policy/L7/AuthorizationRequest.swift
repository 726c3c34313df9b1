// SPDX-License-Identifier: Apache-2.0

/// Who sends the requests of one connection, as an authorizer asks about it.
///
/// Made once for a connection: what is looked up by the identity is hashed here and not for each request. Borrows the
/// identity's text, which must live as long as this.
public struct RequestSource: BitwiseCopyable {
    /// The SPIFFE ID without its scheme; `nil` if the peer has proved nothing.
    public let principal: UnsafeRawBufferPointer?
    /// The peer of the connection.
    public let address: IPAddress
    /// The client on whose behalf the peer sends: another than `address` only if a trusted proxy says so.
    public let remoteAddress: IPAddress

    /// Of every SPIFFE ID what is before the first `/`.
    let trustDomain: UnsafeRawBufferPointer?
    // `nil` if the principal is not of the form `domain/ns/namespace/sa/account`.
    let namespace: UnsafeRawBufferPointer?
    /// `ns/namespace/sa/account`.
    let account: UnsafeRawBufferPointer?
    let principalHash: UInt64
    let namespaceHash: UInt64
    let accountHash: UInt64

    /// - Parameters:
    ///   - principal: the SPIFFE ID that the peer has proved, with or without `spiffe://`.
    ///   - remoteAddress: `nil`: the same as `address`.
    public init(principal: UnsafeRawBufferPointer?, address: IPAddress, remoteAddress: IPAddress? = nil) {
        self.address = address
        self.remoteAddress = remoteAddress ?? address
        guard let principal = principal.map(Self.withoutScheme), !principal.isEmpty else {
            (self.principal, trustDomain, namespace, account) = (nil, nil, nil, nil)
            (principalHash, namespaceHash, accountHash) = (0, 0, 0)
            return
        }
        self.principal = principal
        principalHash = Self.hash(principal)
        let slash = principal.firstIndex(of: UInt8(ascii: "/")) ?? principal.count
        trustDomain = slash == 0 ? nil : UnsafeRawBufferPointer(rebasing: principal[..<slash])
        guard slash < principal.count,
            let name = Self.namespace(of: UnsafeRawBufferPointer(rebasing: principal[(slash + 1)...]))
        else {
            (namespace, account) = (nil, nil)
            (namespaceHash, accountHash) = (0, 0)
            return
        }
        namespace = name
        namespaceHash = Self.hash(name)
        let account = UnsafeRawBufferPointer(rebasing: principal[(slash + 1)...])
        self.account = account
        accountHash = Self.hash(account)
    }

    private init(_ other: RequestSource, at address: IPAddress) {
        (principal, trustDomain, namespace, account) = (
            other.principal, other.trustDomain, other.namespace, other.account
        )
        (principalHash, namespaceHash, accountHash) = (other.principalHash, other.namespaceHash, other.accountHash)
        (self.address, remoteAddress) = (address, address)
    }

    /// The same identity at another address.
    public func at(_ address: IPAddress) -> RequestSource { RequestSource(self, at: address) }

    private static func withoutScheme(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let scheme: StaticString = "spiffe://"
        let length = scheme.utf8CodeUnitCount
        guard text.count >= length else { return text }
        for index in 0..<length where text[index] != scheme.utf8Start[index] { return text }
        return UnsafeRawBufferPointer(rebasing: text[length...])
    }

    /// The namespace in `ns/namespace/sa/account`.
    private static func namespace(of text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        let slash = UInt8(ascii: "/")
        guard text.count > 3, text[0] == UInt8(ascii: "n"), text[1] == UInt8(ascii: "s"), text[2] == slash,
            let end = text[3...].firstIndex(of: slash), end > 3, end + 4 < text.count,
            text[end + 1] == UInt8(ascii: "s"), text[end + 2] == UInt8(ascii: "a"), text[end + 3] == slash,
            !text[(end + 4)...].contains(slash)
        else { return nil }
        return UnsafeRawBufferPointer(rebasing: text[3..<end])
    }

    private static func hash(_ text: UnsafeRawBufferPointer) -> UInt64 {
        PathIndex.hash(PathIndex.seed, text)
    }
}

/// What of a request an authorizer can look at, except its header fields. Borrowed for the length of a call.
public struct AuthorizationRequest {
    public var source: RequestSource
    /// Of the workload; never that of a Service.
    public var destinationAddress: IPAddress
    public var destinationPort: UInt16
    public var method: UnsafeRawBufferPointer
    public var path: RequestPath
    /// `:authority` or Host as it was sent, with its port; `nil`: there is none.
    public var authority: UnsafeRawBufferPointer?

    public init(
        source: RequestSource, destinationAddress: IPAddress, destinationPort: UInt16, method: UnsafeRawBufferPointer,
        path: RequestPath, authority: UnsafeRawBufferPointer?
    ) {
        self.source = source
        self.destinationAddress = destinationAddress
        self.destinationPort = destinationPort
        self.method = method
        self.path = path
        self.authority = authority
    }
}

/// The answer of a ``RequestAuthorizer``.
public struct AuthorizationDecision: Hashable, Sendable, BitwiseCopyable {
    /// Otherwise: HTTP 403, gRPC PERMISSION_DENIED.
    public let isAllowed: Bool
    /// Index into ``RequestAuthorizer/rules`` of the rule that decided. `nil` if none matched: allowed because no ALLOW
    /// policy selects the workload, or denied because one does.
    public let rule: Int?
    /// The answer if dry-run policies were enforced too.
    public let dryRunIsAllowed: Bool
    /// The rule that would decide then.
    public let dryRunRule: Int?

    /// Whether the dry run differs, which is to be counted and logged.
    public var dryRunDiffers: Bool { isAllowed != dryRunIsAllowed }
}
