// SPDX-License-Identifier: Apache-2.0

public import MeshModel

extension ObjectOrigin: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(file, document, line) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(file: try reader.read(), document: try reader.read(), line: try reader.read())
    }
}

extension ObjectMetadata: WireValue {
    public func encode(to writer: inout ByteWriter) {
        writer.write(name, namespace, labels, annotations, creationTimestamp, origin)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            name: try reader.read(), namespace: try reader.read(), labels: try reader.read(),
            annotations: try reader.read(), creationTimestamp: try reader.read(), origin: try reader.read())
    }
}

extension ReferenceGrant: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(metadata, apiVersion, from, to) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(
            metadata: try reader.read(), apiVersion: try reader.read(), from: try reader.read(), to: try reader.read())
    }
}

extension ReferenceGrant.From: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(group, kind, namespace) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(group: try reader.read(), kind: try reader.read(), namespace: try reader.read())
    }
}

extension ReferenceGrant.To: WireValue {
    public func encode(to writer: inout ByteWriter) { writer.write(group, kind, name) }
    public init(from reader: inout ByteReader) throws(WireError) {
        self.init(group: try reader.read(), kind: try reader.read(), name: try reader.read())
    }
}
