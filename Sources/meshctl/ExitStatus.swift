// SPDX-License-Identifier: Apache-2.0

import MeshAdmin

/// How the program ends; the table is in docs/errors.md. Throwing one ends it without another message.
enum ExitStatus: Int32, Error, CaseIterable {
    case success = 0
    case failure = 1
    case usage = 2
    case unreachable = 3
    case notPermitted = 4
    case invalidInput = 5
    /// The question was answered, with no: only where `--exit-code` asks for it.
    case negative = 6
    case timeout = 7
    case notFound = 8
    case conflict = 9
    /// `run`: meshctl failed before the command started.
    case notStarted = 125
    /// `run`: the command cannot be executed.
    case notExecutable = 126
    /// `run`: there is no such command.
    case commandNotFound = 127

    init(_ code: AdminError.Code) {
        self =
            switch code {
            case .invalidRequest: .usage
            case .tooLarge, .failed, .versionMismatch: .failure
            case .unreachable, .busy: .unreachable
            case .permissionDenied: .notPermitted
            case .invalidInput: .invalidInput
            case .timeout: .timeout
            case .notFound: .notFound
            case .conflict: .conflict
            }
    }
}
