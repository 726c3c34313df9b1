// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Takes the fields of a reply of the proxy's own, by whichever protocol it goes. What is given need only live for the
/// call.
struct ReplyFields {
    private enum Head {
        case http1(UnsafeMutablePointer<HTTP1HeadWriter>)
        case http2(UnsafeMutablePointer<HTTP2HeadWriter>)
    }

    private let head: Head

    init(_ writer: UnsafeMutablePointer<HTTP1HeadWriter>) { head = .http1(writer) }

    init(_ writer: UnsafeMutablePointer<HTTP2HeadWriter>) { head = .http2(writer) }

    mutating func field(named name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        switch head {
        case .http1(let writer): writer.pointee.field(named: name, value)
        case .http2(let writer): writer.pointee.copyField(named: name, value)
        }
    }

    mutating func field(_ name: FieldName, _ value: UnsafeRawBufferPointer) {
        let text = name.text
        field(named: UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount), value)
    }

    mutating func field(_ name: FieldName, _ value: StaticString) {
        field(name, UnsafeRawBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount))
    }

    mutating func add(_ fields: [HeaderField]) {
        for field in fields {
            var (name, value) = (field.name, field.value)
            name.withUTF8 { name in
                value.withUTF8 { self.field(named: UnsafeRawBufferPointer(name), UnsafeRawBufferPointer($0)) }
            }
        }
    }
}

extension HTTP1HeadWriter {
    mutating func add(_ fields: [HeaderField]) {
        withUnsafeMutablePointer(to: &self) { writer in
            var reply = ReplyFields(writer)
            reply.add(fields)
        }
    }
}

extension HTTP2HeadWriter {
    mutating func add(_ fields: [HeaderField]) {
        withUnsafeMutablePointer(to: &self) { writer in
            var reply = ReplyFields(writer)
            reply.add(fields)
        }
    }
}
