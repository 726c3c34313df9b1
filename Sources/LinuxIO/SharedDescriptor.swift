// SPDX-License-Identifier: Apache-2.0

/// A file descriptor with several owners; it is closed with the last of them.
///
/// For descriptors that wait in a queue, stand in a table and are in use at the same time. One with a single owner is an
/// ``OwnedDescriptor``.
public final class SharedDescriptor: Sendable {
    private let descriptor: OwnedDescriptor

    /// Takes ownership.
    public init(_ descriptor: consuming OwnedDescriptor) {
        self.descriptor = descriptor
    }

    /// Takes ownership of `rawValue`, which must be open.
    public convenience init(adopting rawValue: CInt) {
        self.init(OwnedDescriptor(adopting: rawValue))
    }

    /// Lent for as long as the caller owns this object.
    public var rawValue: CInt { descriptor.rawValue }

    /// A second descriptor of the same open file, which outlives this object.
    public func duplicate() throws(SystemError) -> OwnedDescriptor { try descriptor.duplicate() }
}
