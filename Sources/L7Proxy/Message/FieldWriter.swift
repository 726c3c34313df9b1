// SPDX-License-Identifier: Apache-2.0

/// Whatever fields can be added to: the head of a message in either protocol.
protocol FieldWriter: ~Copyable {
    /// Adds a field of any name but those that are the writer's own.
    ///
    /// - Parameters:
    ///   - name, value: Must stay where they are until the head was given to its connection.
    mutating func field(named name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer)
}

extension HTTP1HeadWriter: FieldWriter {}
extension HTTP2HeadWriter: FieldWriter {}
