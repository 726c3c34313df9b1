// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import Synchronization
import Testing

/// Asks the kernel the same few questions without pause, on a thread of its own.
struct Asker: ~Copyable {
    typealias Answer = (question: Int, answer: KernelVerdict.Answer)

    /// What the two threads share.
    private final class Shared: Sendable {
        struct State {
            var questions: [mesh_query] = []
            /// Grows with each set of questions, so that no answer to another set is kept.
            var edition = 0
            /// Those that were not taken yet, without those that repeat the last one to their question.
            var answers: [Answer] = []
            var last: [KernelVerdict.Answer?] = []
            var failure: (any Error)?
        }

        let verdict: KernelVerdict
        let state = Mutex(State())
        /// Odd while a question is in the kernel.
        let turn = Atomic<UInt64>(0)
        /// Generation that was in force before the next question was asked.
        let floor = Atomic<UInt32>(0)
        let isOver = Atomic(false)

        init(_ verdict: consuming KernelVerdict) { self.verdict = verdict }

        func run() {
            do { while !isOver.load(ordering: .relaxed) { try askAll() } } catch {
                state.withLock { $0.failure = error }
            }
        }

        private func askAll() throws {
            let (questions, edition) = state.withLock { ($0.questions, $0.edition) }
            if questions.isEmpty { sched_yield() }
            for (index, question) in questions.enumerated() {
                let least = floor.load(ordering: .sequentiallyConsistent)
                turn.add(1, ordering: .sequentiallyConsistent)
                let result = Result { try verdict(question) }
                turn.add(1, ordering: .sequentiallyConsistent)
                let answer = try result.get()
                try #require(answer.generation >= least, "a generation that was over has answered")
                state.withLock { state in
                    guard state.edition == edition, state.last[index] != answer else { return }
                    state.last[index] = answer
                    state.answers.append((index, answer))
                }
            }
        }
    }

    private let shared: Shared
    private let thread: pthread_t

    init(_ verdict: consuming KernelVerdict) throws {
        let shared = Shared(verdict)
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Shared>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, Unmanaged.passRetained(shared).toOpaque())
        try #require(status == 0)
        self.shared = shared
        self.thread = thread
    }

    deinit {
        shared.isOver.store(true, ordering: .relaxed)
        pthread_join(thread, nil)
    }

    /// Asks these from now on; answers to others are dropped.
    func setQuestions(_ questions: [mesh_query]) {
        shared.state.withLock {
            $0.questions = questions
            $0.edition += 1
            $0.answers = []
            $0.last = Array(repeating: nil, count: questions.count)
        }
    }

    /// Demands that what is asked from now on is answered by `generation` or a later one.
    func expect(atLeast generation: UInt32) { shared.floor.store(generation, ordering: .sequentiallyConsistent) }

    /// Questions asked so far.
    var count: Int { Int(shared.turn.load(ordering: .relaxed) / 2) }

    /// The answers since the last call that say something else than the one before to their question.
    func takeAnswers() throws -> [Answer] {
        try shared.state.withLock { state in
            if let failure = state.failure { throw failure }
            defer { state.answers = [] }
            return state.answers
        }
    }

    /// Returns when a question that is in the kernel now has left it.
    func quiesce() {
        let turn = shared.turn.add(0, ordering: .sequentiallyConsistent).newValue
        guard turn & 1 == 1 else { return }
        while shared.turn.load(ordering: .sequentiallyConsistent) == turn { sched_yield() }
    }
}
