// SPDX-License-Identifier: Apache-2.0

import AdminTestSupport
import Testing

@testable import MeshAdmin

@Suite struct ExpositionReaderTests {
    private static let page = """
        # HELP a Things, "quoted" \\ and all.
        # TYPE a counter
        a{x="1",y="a \\"b\\" \\\\ c\\nd"} 3

        a{x="2",} 4 1700000000000
        # TYPE h histogram
        h_bucket{le="+Inf"} 2
        h_sum 2.5e-1
        \th_count\t2
        # Nothing.
        # TYPE g gauge
        g -1
        free:of_types 7
        """

    private static let samples = [
        MetricSample(name: "a", type: "counter", labels: ["x": "1", "y": "a \"b\" \\ c\nd"], value: 3),
        MetricSample(name: "a", type: "counter", labels: ["x": "2"], value: 4),
        MetricSample(name: "h_bucket", type: "histogram", labels: ["le": "+Inf"], value: 2),
        MetricSample(name: "h_sum", type: "histogram", value: 0.25),
        MetricSample(name: "h_count", type: "histogram", value: 2),
        MetricSample(name: "g", type: "gauge", value: -1),
        MetricSample(name: "free:of_types", type: "untyped", value: 7),
    ]

    @Test func aPageIsRead() throws {
        #expect(try ExpositionReader.read(Self.page) == Self.samples)
        #expect(try ExpositionReader.read("").isEmpty)
    }

    @Test(arguments: [
        ("a", "a has no value"), ("a 1 2 3", "a has no value, or too much"), ("a x", "value of a is no number"),
        ("a NaN", "no number"), ("a +Inf", "no number"), ("a 1 x", "time of a"), ("1a 1", "name of a metric"),
        ("{x=\"1\"} 1", "name of a metric"), ("a{1=\"1\"} 1", "name of a label"), ("a{x} 1", "label x has no value"),
        ("a{x=1} 1", "label x has no value"), ("a{x=\"1} 1", "does not end"), ("a{x=\"\\t\"} 1", "backslash"),
        ("a{x=\"\\", "backslash"), ("a{x=\"1\"y=\"2\"} 1", "nothing parts label x"), ("a{x=\"1\",x=\"2\"} 1", "twice"),
        ("a{", "name of a label"), ("a{x=\"1\"", "nothing parts"), ("# TYPE a", "no known type"),
        ("# TYPE a thing", "no known type"), ("# TYPE a gauge x", "no known type"),
    ])
    func whatIsWrongIsNamed(line: String, problem: String) {
        let error = #expect(throws: ExpositionReader.Unreadable.self) {
            try ExpositionReader.read("ok 1\n\(line)\nok 1")
        }
        #expect(error?.line == 2)
        #expect(error?.description.contains(problem) == true, "\(error?.description ?? "")")
    }

    /// A page that was cut: what is read is the beginning of the whole, or an error in the last line. A number may be
    /// shorter.
    @Test func everyPrefixIsReadOrRefused() {
        for length in 0...Self.page.utf8.count {
            let prefix = String(decoding: Self.page.utf8.prefix(length), as: UTF8.self)
            guard let read = try? ExpositionReader.read(prefix) else { continue }
            #expect(read.dropLast() == Self.samples.prefix(max(read.count - 1, 0)))
            #expect(read.last?.name == (read.isEmpty ? nil : Self.samples[read.count - 1].name))
        }
    }

    @Test(arguments: [1, 7, 40, 1000])
    func aPageIsCutBetweenLines(size: Int) throws {
        let parts = MetricsPart.parts(of: Array(Self.page.utf8), size: size)
        #expect(parts.map(\.text).joined() == Self.page)
        for part in parts.dropLast() {
            #expect(part.text.last == "\n")
            #expect(part.text.utf8.count <= size || part.text.count { $0 == "\n" } == 1)
        }
        #expect(MetricsPart.parts(of: []).isEmpty)
    }

    /// Four megabytes, which the server does not hold for a client at once.
    @Test(.timeLimit(.minutes(1))) func allPartsArrive() throws {
        let agent = try FakeAgent()
        var client = try agent.client()
        let text = try client.list(MetricsRequest()).map(\.text).joined()
        #expect(try ExpositionReader.read(text).map(\.value) == (0..<64).map(Double.init))
        #expect(try client.one(StatusRequest()) == Samples.status())
        _ = try agent.stop()
    }
}
