// SPDX-License-Identifier: Apache-2.0
import MeshAdmin
import MeshModel

/// What all steps of a request come to.
struct RequestOutcome {
    private(set) var outcome: RequestReport.Outcome
    private(set) var status: UInt16?
    private(set) var sentence: String

    /// - Parameter fault: of the Service that the client has asked: made after policy has allowed the request.
    init(_ trace: RequestTrace, _ backends: [RequestBackendReport], _ fault: MeshPolicySettings.Fault?) {
        if let answer = trace.answer {
            (outcome, status, sentence) = (.answered, answer.status, answer.sentence)
            return
        }
        // Of everybody who may get it: the proxy's own answer, or `nil` for the endpoint's.
        var answers: [(status: UInt16?, why: String)] = []
        for backend in backends where backend.percent > 0 {
            if let status = backend.status { answers.append((status, backend.explanation ?? "")) }
            answers += backend.endpoints.map { ($0.status, $0.explanation) }
        }
        let statuses = Set(answers.map { $0.status })
        guard statuses.count == 1, let first = answers.first else {
            outcome = .mixed
            let words = statuses.map { $0.map { "the proxy answers \($0)" } ?? "the endpoint answers" }.sorted()
            sentence = "it depends on the backend and its endpoint: \(words.joined(separator: ", or "))"
            return
        }
        if let status = first.status {
            (outcome, self.status, sentence) = (.answered, status, first.why)
            return
        }
        (outcome, sentence) = (.forwarded, "a backend gets the request")
        guard let fault, let abort = fault.abort, fault.percent > 0 else { return }
        // A gRPC status comes with 200.
        if fault.percent >= 100 {
            outcome = .answered
            status = if case .httpStatus(let number) = abort { number } else { 200 }
            sentence = "a MeshPolicy makes every request fail on purpose"
        } else {
            outcome = .mixed
            sentence = "a backend gets the request, but for \(fault.percent) % that fail on purpose"
        }
    }
}
