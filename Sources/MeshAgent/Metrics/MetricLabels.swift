// SPDX-License-Identifier: Apache-2.0

/// Labels of pods from which metrics take names; no other one is given to the proxy.
/// https://istio.io/latest/docs/reference/config/metrics/#labels
enum MetricLabels {
    static let shown: Set<String> = [
        "app", "version", "app.kubernetes.io/name", "app.kubernetes.io/version", "service.istio.io/canonical-name",
        "service.istio.io/canonical-revision",
    ]
}
