// SPDX-License-Identifier: Apache-2.0

/// Writing that waits for the disk, perhaps for seconds while others write much. Any thread may do it.
public struct DiskWork: Sendable {
    public typealias Outcome = Result<Void, StateFileError>

    private let body: @Sendable () throws(StateFileError) -> Void

    init(_ body: @escaping @Sendable () throws(StateFileError) -> Void) { self.body = body }

    public func perform() -> Outcome {
        do throws(StateFileError) {
            return .success(try body())
        } catch {
            return .failure(error)
        }
    }
}
