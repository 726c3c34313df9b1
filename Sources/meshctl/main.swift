// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import MeshAdmin

/// Runs the command line; never returns.
func runMeshctl(_ arguments: [String]) -> Never {
    do {
        var command = try Meshctl.parseAsRoot(GlobalOptionWords.afterCommand(arguments, root: Meshctl.self))
        try command.run()
        exit(ExitStatus.success.rawValue)
    } catch let error as AdminError {
        Console.printError(error)
        exit(ExitStatus(error.code).rawValue)
    } catch let status as ExitStatus {
        exit(status.rawValue)
    } catch  where Meshctl.exitCode(for: error) == .validationFailure {
        Console.write(Meshctl.fullMessage(for: error) + "\n", to: STDERR_FILENO)
        exit(ExitStatus.usage.rawValue)
    } catch {
        // Help, version and completion scripts, which are no failures.
        Meshctl.exit(withError: error)
    }
}

runMeshctl(Array(CommandLine.arguments.dropFirst()))
