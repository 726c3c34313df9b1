// SPDX-License-Identifier: Apache-2.0

public import MeshModel

extension Router {
    /// Matches a request given as text, normalised as a proxy does it.
    public func match(_ request: RouteOracle.Request) -> Match? {
        RequestBytes(request, isNormalized: kind == .http).borrowed { match($0, headers: $1) }
    }
}

/// The bytes of a request, in one place.
public struct RequestBytes: Sendable {
    private let method: [UInt8]
    private let path: [UInt8]
    private let query: [UInt8]?
    private let headers: [(name: [UInt8], value: [UInt8])]

    public init(_ request: RouteOracle.Request, isNormalized: Bool = true) {
        method = Array(request.method.utf8)
        path = isNormalized ? Self.normalized(request.path) : Array(request.path.utf8)
        query = request.query.map { Array($0.utf8) }
        headers = request.headers.map { (Array($0.name.utf8), Array($0.value.utf8)) }
    }

    public static func normalized(_ path: String) -> [UInt8] {
        var scratch = [UInt8](repeating: 0, count: path.utf8.count)
        return Array(path.utf8).withUnsafeBytes { bytes in
            scratch.withUnsafeMutableBytes { Array(RoutePath.normalized(bytes, into: $0)) }
        }
    }

    /// Lends the request to `body`.
    public func borrowed<Result>(_ body: (RouteRequest, HeaderFieldList) -> Result) -> Result {
        // One buffer holds everything, at addresses that stand still for the call.
        var all = method + path + (query ?? [])
        var places: [(Int, Int, Int)] = []
        for header in headers {
            places.append((all.count, header.name.count, header.value.count))
            all += header.name + header.value
        }
        return all.withUnsafeBytes { bytes in
            func slice(_ offset: Int, _ count: Int) -> UnsafeRawBufferPointer {
                UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
            }
            let request = RouteRequest(
                method: slice(0, method.count), path: slice(method.count, path.count),
                query: query.map { slice(method.count + path.count, $0.count) })
            let lines = places.map { offset, name, value in
                (name: slice(offset, name), value: slice(offset + name, value))
            }
            return lines.withUnsafeBufferPointer { body(request, HeaderFieldList($0)) }
        }
    }
}
