// SPDX-License-Identifier: Apache-2.0

public import MeshModel

extension IdentityNumber: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(rawValue) }
    public init(from reader: inout ByteReader) throws(WireError) { self.init(rawValue: try reader.read()) }
}

extension PolicyVerdict: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(rawValue) }
    public init(from reader: inout ByteReader) throws(WireError) {
        let number: UInt8 = try reader.read()
        guard let verdict = PolicyVerdict(rawValue: number) else { throw reader.failure("\(number) is no verdict") }
        self = verdict
    }
}

extension PortTable.Segment: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(firstPort, portClass, verdict) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(firstPort: try reader.read(), portClass: try reader.read(), verdict: try reader.read())
    }
}

extension PortTable.Exception: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(identity, verdict) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(identity: try reader.read(), verdict: try reader.read())
    }
}

extension PortTable: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(segments, exceptions) }

    /// Takes only what a look-up finds its way in: from port 0, in order, and with a class for each segment.
    public init(from reader: inout ByteReader) throws(WireError) {
        let segments: [Segment] = try reader.read()
        let exceptions: [[Exception]] = try reader.read()
        guard segments.first?.firstPort == 0,
            zip(segments, segments.dropFirst()).allSatisfy({ $0.firstPort < $1.firstPort })
        else { throw reader.failure("the ports of a table do not begin at 0, or are out of order") }
        guard segments.allSatisfy({ Int($0.portClass) < exceptions.count }) else {
            throw reader.failure("a port of a table has a class that is not there")
        }
        for list in exceptions where !zip(list, list.dropFirst()).allSatisfy({ $0.identity < $1.identity }) {
            throw reader.failure("the identities of a table are out of order")
        }
        self.init(segments: segments, exceptions: exceptions)
    }
}
