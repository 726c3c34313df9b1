// SPDX-License-Identifier: Apache-2.0

public import MeshModel

extension RequestAuthorizer {
    /// Decides about a request given as text, read as a proxy does it.
    ///
    /// - Returns: `nil` if the path is refused.
    public func decide(_ request: RequestOracle.Request) -> AuthorizationDecision? {
        request.borrowed { decide($0, headers: $1) }
    }
}

extension RequestOracle.Request {
    /// Lends the bytes of the request to `body`; `nil` if the path is refused.
    public func borrowed<Result>(_ body: (AuthorizationRequest, HeaderFieldList) -> Result) -> Result? {
        // One buffer holds everything, at addresses that stand still for the call.
        var all: [UInt8] = []
        func place(_ text: String) -> Range<Int> {
            let first = all.count
            all += text.utf8
            return first..<all.count
        }
        let principal = principal.map { place($0) }
        let method = place(method)
        let path = place(path)
        let authority = authority.map { place($0) }
        let headers = headers.map { (place($0.name), place($0.value)) }
        var scratch = [UInt8](repeating: 0, count: RequestPath.scratchSize(for: path.count))
        return all.withUnsafeBytes { bytes in
            scratch.withUnsafeMutableBytes { scratch in
                let slice = { (range: Range<Int>) in UnsafeRawBufferPointer(rebasing: bytes[range]) }
                guard case .path(let path) = RequestPath.read(slice(path), into: scratch) else { return nil }
                let request = AuthorizationRequest(
                    source: RequestSource(principal: principal.map(slice), address: source, remoteAddress: remote),
                    destinationAddress: destination, destinationPort: port, method: slice(method), path: path,
                    authority: authority.map(slice))
                let lines = headers.map { (name: slice($0.0), value: slice($0.1)) }
                return lines.withUnsafeBufferPointer { body(request, HeaderFieldList($0)) }
            }
        }
    }
}
