// SPDX-License-Identifier: Apache-2.0

public import LinuxIO

/// Puts changes and whole states together as their messages arrive; the proxy's side.
///
/// A change is nothing before its commit: a link that breaks in between leaves what was there.
public struct ConfigurationReceiver: Sendable {
    /// What a message came to.
    public enum Outcome: Equatable, Sendable {
        /// More is to come.
        case incomplete
        /// This is to be put in force; answer with an acknowledgement or a rejection.
        case complete(ConfigurationState)
        /// The sender does not keep the protocol: close the link with this reason.
        case violation(String)
    }

    public private(set) var state = ConfigurationState()
    private var change: ConfigurationChange?
    private var changeBytes = 0
    private let limits: LinkLimits

    public init(limits: LinkLimits = LinkLimits()) { self.limits = limits }

    /// Forgets a change that has no commit: the link that brought it has closed.
    public mutating func abandonChange() { change = nil }

    public mutating func begin(base: UInt64, generation: UInt64) -> Outcome {
        guard change == nil else { return .violation("a change begins inside another one") }
        guard base == state.generation else {
            return .violation("a change is from generation \(base), and \(state.generation) is here")
        }
        guard generation > base else { return .violation("generation \(generation) follows \(base)") }
        change = ConfigurationChange(base: base, generation: generation)
        changeBytes = 0
        return .incomplete
    }

    /// - Parameter value: `nil`: the record goes.
    public mutating func set(_ key: RecordKey, _ value: [UInt8]?) -> Outcome {
        guard change != nil else { return .violation("a record outside of a change") }
        guard value != nil || state.records[key] != nil else { return .violation("\(key) is deleted and not there") }
        guard change?.records[key] == nil else { return .violation("\(key) occurs twice in a change") }
        changeBytes += key.name.utf8.count + (value?.count ?? 0)
        guard changeBytes <= limits.changeBytes else {
            return .violation("a change of more than \(limits.changeBytes) bytes")
        }
        change?.records[key] = .some(value)
        return .incomplete
    }

    public mutating func commit(_ generation: UInt64) -> Outcome {
        guard let change, change.generation == generation else {
            return .violation("a commit of generation \(generation), which was not begun")
        }
        self.change = nil
        state.apply(change)
        guard state.records.count <= limits.records else { return .violation("more than \(limits.records) records") }
        return .complete(state)
    }

    /// A whole state, in place of everything.
    ///
    /// - Parameter file: from the peer; its seals are looked at before it is.
    public mutating func snapshot(_ generation: UInt64, in file: SharedDescriptor) -> Outcome {
        guard change == nil else { return .violation("a snapshot inside of a change") }
        guard generation > state.generation else {
            return .violation("a snapshot of generation \(generation) follows \(state.generation)")
        }
        let read: Result<ConfigurationState, WireError>
        do throws(SystemError) {
            read = try SealedMemory.withBytes(of: file, atMost: limits.snapshotBytes) { bytes in
                do throws(WireError) { return .success(try ByteReader.whole(ConfigurationState.self, bytes)) } catch {
                    return .failure(error)
                }
            }
        } catch {
            return .violation("a snapshot cannot be read: \(error)")
        }
        switch read {
        case .failure(let error): return .violation("a snapshot is malformed: \(error)")
        case .success(let new):
            guard new.generation == generation else {
                return .violation("a snapshot announced as generation \(generation) is \(new.generation)")
            }
            guard new.records.count <= limits.records else {
                return .violation("more than \(limits.records) records")
            }
            state = new
            return .complete(new)
        }
    }
}
