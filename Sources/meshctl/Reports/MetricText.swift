// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// Metrics for people: who asked whom in columns of their own, and of a histogram what can be read.
enum MetricText {
    /// A line of the table.
    private struct Key: Hashable {
        let name: String
        let source: String
        let destination: String
        let labels: String
    }

    /// What stands in the table for one key.
    private enum Content {
        case number(Double)
        case histogram(Histogram)
    }

    /// Of the lines of a histogram.
    private struct Histogram {
        var count = 0.0
        var sum = 0.0
        /// Upper bounds, with how many values are not above them. The infinite one is `count`.
        var buckets: [(bound: Double, count: Double)] = []

        /// The bound below which so many of all values are; `nil`: above the last bound.
        func bound(of share: Double) -> Double? {
            buckets.sorted { $0.bound < $1.bound }.first { $0.count >= share * count }?.bound
        }

        var text: String {
            guard count > 0 else { return "0" }
            func percentile(_ share: Double) -> String {
                bound(of: share).map { "<= \(MetricText.number($0))" } ?? "more"
            }
            return "\(MetricText.number(count)), mean \(MetricText.number(sum / count)), p50 \(percentile(0.5)), "
                + "p99 \(percentile(0.99))"
        }
    }

    static func render(_ samples: [MetricSample]) -> String {
        var order: [Key] = []
        var contents: [Key: Content] = [:]
        for sample in samples {
            let (family, part) = family(of: sample)
            let key = key(family, sample.labels)
            if contents[key] == nil { order.append(key) }
            contents[key] = merged(contents[key], with: sample, part)
        }
        var table = Table("METRIC", "SOURCE", "DESTINATION", "LABELS", "VALUE")
        for key in order {
            let value: String
            switch contents[key] {
            case .number(let number)?: value = Self.number(number)
            case .histogram(let histogram)?: value = histogram.text
            case nil: continue
            }
            table.add(key.name, key.source, key.destination, key.labels, value)
        }
        return table.rendered(empty: "No metrics.")
    }

    /// The name without the suffix of a histogram's lines, and that suffix.
    private static func family(of sample: MetricSample) -> (String, String) {
        guard sample.type == "histogram" else { return (sample.name, "") }
        for suffix in ["_bucket", "_sum", "_count"] where sample.name.hasSuffix(suffix) {
            return (String(sample.name.dropLast(suffix.count)), suffix)
        }
        return (sample.name, "")
    }

    private static func merged(_ old: Content?, with sample: MetricSample, _ part: String) -> Content {
        guard !part.isEmpty else {
            if case .number(let number)? = old { return .number(number + sample.value) }
            return .number(sample.value)
        }
        var histogram = Histogram()
        if case .histogram(let known)? = old { histogram = known }
        switch part {
        case "_sum": histogram.sum += sample.value
        case "_count": histogram.count += sample.value
        default:
            guard let bound = sample.labels["le"].flatMap(Double.init), bound.isFinite else { break }
            if let index = histogram.buckets.firstIndex(where: { $0.bound == bound }) {
                histogram.buckets[index].count += sample.value
            } else {
                histogram.buckets.append((bound, sample.value))
            }
        }
        return .histogram(histogram)
    }

    private static func key(_ family: String, _ labels: [String: String]) -> Key {
        func known(_ name: String) -> String? { labels[name].flatMap { ["", "-", "unknown"].contains($0) ? nil : $0 } }
        func end(_ workload: String, _ namespace: String) -> String? {
            known(workload).map { name in known(namespace).map { "\($0)/\(name)" } ?? name }
        }
        let others = labels.keys.sorted().filter { name in
            name != "le" && !name.hasPrefix("source_") && !name.hasPrefix("destination_") && known(name) != nil
        }
        return Key(
            name: family, source: end("source_workload", "source_workload_namespace") ?? "",
            destination: end("destination_service_name", "destination_service_namespace")
                ?? end("destination_workload", "destination_workload_namespace") ?? "",
            labels: others.map { "\($0)=\(labels[$0] ?? "")" }.joined(separator: " "))
    }

    /// Whole where it is, else with one decimal.
    private static func number(_ value: Double) -> String {
        if let whole = Int64(exactly: value) { return String(whole) }
        return abs(value) < 1e15 ? Units.oneDecimal(value) : String(value)
    }
}
