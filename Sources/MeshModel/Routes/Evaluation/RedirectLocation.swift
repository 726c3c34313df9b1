// SPDX-License-Identifier: Apache-2.0

extension RequestRedirect {
    /// What the Location of a redirection takes from the request.
    public struct Context {
        public var request: RouteRequest
        /// How the client speaks to the mesh.
        public var scheme: Scheme
        /// Host or `:authority`, perhaps with a port.
        public var authority: UnsafeRawBufferPointer
        /// The port of the Service that the client has connected to: the mesh's listener port.
        public var port: UInt16
        /// ``Router/Match/prefixLength``.
        public var prefixLength: Int?

        public init(
            request: RouteRequest, scheme: Scheme, authority: UnsafeRawBufferPointer, port: UInt16,
            prefixLength: Int? = nil
        ) {
            self.request = request
            self.scheme = scheme
            self.authority = authority
            self.port = port
            self.prefixLength = prefixLength
        }
    }

    /// Writes the value of Location.
    ///
    /// The port is left out where it is the scheme's own. It does not come from Host: what the client wrote there is
    /// not where it went.
    public func appendLocation(to output: inout [UInt8], _ context: Context) {
        let scheme = self.scheme ?? context.scheme
        output += scheme.rawValue.utf8
        output += "://".utf8
        if let hostname, !hostname.isEmpty {
            output += hostname.utf8
        } else {
            output += Self.host(of: context.authority)
        }
        let port = self.port ?? self.scheme?.wellKnownPort ?? context.port
        if port != scheme.wellKnownPort { output += ":\(port)".utf8 }
        if let path {
            path.append(to: &output, path: context.request.path, prefixLength: context.prefixLength)
        } else {
            output += context.request.path
        }
        output.appendQuery(context.request.query)
    }

    /// Without the port: `[::1]:80` is `[::1]`.
    private static func host(of authority: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let end = authority.lastIndex(of: UInt8(ascii: ":")) ?? authority.count
        let digits = authority[end...].dropFirst()
        return digits.allSatisfy { (0x30...0x39).contains($0) }
            ? UnsafeRawBufferPointer(rebasing: authority[..<end]) : authority
    }
}
