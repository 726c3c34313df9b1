// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// PeerAuthentication of security.istio.io and sockmesh.io.
enum PeerAuthenticationDecoder {
    private static let modes = ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]

    static func decode(_ header: ObjectHeader) -> PeerAuthentication {
        var policy = PeerAuthentication(metadata: header.metadata, apiVersion: header.apiVersion)
        policy.isDryRun = header.dryRun()
        guard let spec = header.object["spec"]?.object(strict: ["selector", "mtls", "portLevelMtls"]) else {
            return policy
        }
        policy.selector = spec["selector"]?.workloadSelector()
        policy.mode = spec["mtls"].flatMap(mode) ?? .unset
        if let ports = spec["portLevelMtls"], let fields = ports.object() {
            if policy.selector?.isEmpty ?? true, !fields.fields.isEmpty {
                ports.report(
                    "needs a selector: ports differ from workload to workload",
                    remedy: "add spec.selector.matchLabels")
            }
            for field in fields.fields {
                guard let port = UInt16(field.key), port > 0 else {
                    header.object.sink.report(
                        at: field.keyPosition, field: ports.path.key(field.key),
                        "the key must be a port between 1 and 65535")
                    continue
                }
                if let mode = fields[field.key].flatMap(mode) { policy.portLevelMtls[port] = mode }
            }
        }
        return policy
    }

    private static func mode(_ reader: FieldReader) -> PeerAuthentication.Mode? {
        reader.object(strict: ["mode"])?["mode"]?.string(oneOf: modes)
            .flatMap { PeerAuthentication.Mode(rawValue: $0) }
    }
}
