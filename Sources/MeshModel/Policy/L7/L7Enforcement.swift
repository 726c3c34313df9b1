// SPDX-License-Identifier: Apache-2.0

/// Whether a node proxy decides per request what a connection cannot tell.
public enum L7Enforcement: String, Hashable, Sendable {
    /// No: an ALLOW rule with fields of HTTP is left out, a DENY rule holds without them; `targetRefs` are not enforced.
    case absent
    /// Yes: where such fields decide, the kernel's verdict is ``PolicyVerdict/needsProxy``, for TCP. UDP has no proxy
    /// and is decided as without one. A policy whose `targetRefs` name Services selects the pods that these select.
    case enforced
}
