// SPDX-License-Identifier: Apache-2.0

/// What the policies of a pod say about a request.
public enum RequestJudgement: Hashable, Sendable {
    case decided(RequestExplanation)
    /// Nobody can say what the path means: 400.
    case refused(RequestPathDefect)
}

extension AskedRequest {
    /// Judges the request as it arrives at a pod, as the proxy does it (`Engine.judge` in `L7Proxy`).
    ///
    /// - Parameters:
    ///   - principal: the SPIFFE ID of the client; `nil`: it has proved none.
    ///   - client: its address.
    public func judged(
        by authorizer: RequestAuthorizer, principal: String?, client: IPAddress, destination: IPAddress, port: UInt16
    ) -> RequestJudgement {
        let principal = principal.map { Array($0.utf8) } ?? []
        let authority = Array(authority.utf8)
        var scratch = [UInt8](repeating: 0, count: RequestPath.scratchSize(for: path.utf8.count))
        return borrowed(path: Array(path.utf8)) { request, headers in
            principal.withUnsafeBytes { principal in
                authority.withUnsafeBytes { authority in
                    scratch.withUnsafeMutableBytes { scratch in
                        let path: RequestPath
                        switch RequestPath.read(request.path, into: scratch) {
                        case .refused(let defect): return .refused(defect)
                        case .path(let read): path = read
                        }
                        let question = AuthorizationRequest(
                            source: RequestSource(
                                principal: principal.isEmpty ? nil : principal, address: client),
                            destinationAddress: destination, destinationPort: port, method: request.method, path: path,
                            authority: authority.isEmpty ? nil : authority)
                        return .decided(authorizer.explain(question, headers: headers))
                    }
                }
            }
        }
    }
}
