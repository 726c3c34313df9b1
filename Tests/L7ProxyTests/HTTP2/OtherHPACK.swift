// SPDX-License-Identifier: Apache-2.0

import CNGHTTP2

@testable import L7Proxy

/// A field as bytes, so that anything can be one.
struct RawField: Hashable, CustomStringConvertible {
    var name: [UInt8]
    var value: [UInt8]
    var neverIndexed = false

    init(_ name: [UInt8], _ value: [UInt8], neverIndexed: Bool = false) {
        (self.name, self.value, self.neverIndexed) = (name, value, neverIndexed)
    }

    init(_ name: String, _ value: String) { self.init(Array(name.utf8), Array(value.utf8)) }

    var description: String { "\(String(decoding: name, as: UTF8.self)): \(String(decoding: value, as: UTF8.self))" }
}

/// HPACK of nghttp2, to compare ours with.
final class OtherHPACK {
    private let deflater: OpaquePointer
    private let inflater: OpaquePointer

    init(tableBytes: Int = 4096) {
        var deflater: OpaquePointer?
        var inflater: OpaquePointer?
        guard nghttp2_hd_deflate_new(&deflater, tableBytes) == 0, nghttp2_hd_inflate_new(&inflater) == 0,
            let deflater, let inflater
        else { preconditionFailure("out of memory") }
        (self.deflater, self.inflater) = (deflater, inflater)
    }

    deinit {
        nghttp2_hd_deflate_del(deflater)
        nghttp2_hd_inflate_del(inflater)
    }

    /// What the peer's decoder allows.
    func limitEncoder(_ bytes: Int) { nghttp2_hd_deflate_change_table_size(deflater, bytes) }

    func encode(_ fields: [RawField]) -> [UInt8] {
        var memory: [[UInt8]] = fields.flatMap { [$0.name + [0], $0.value + [0]] }
        let pointers = memory.indices.map { index in
            memory[index].withUnsafeMutableBufferPointer { buffer in
                let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: buffer.count)
                copy.update(from: buffer.baseAddress!, count: buffer.count)
                return copy
            }
        }
        defer { for pointer in pointers { pointer.deallocate() } }
        let lines = fields.indices.map { index in
            nghttp2_nv(
                name: pointers[2 * index], value: pointers[2 * index + 1], namelen: fields[index].name.count,
                valuelen: fields[index].value.count,
                flags: UInt8(fields[index].neverIndexed ? NGHTTP2_NV_FLAG_NO_INDEX.rawValue : 0))
        }
        var block = [UInt8](repeating: 0, count: nghttp2_hd_deflate_bound(deflater, lines, lines.count))
        let count = nghttp2_hd_deflate_hd(deflater, &block, block.count, lines, lines.count)
        precondition(count >= 0, "nghttp2 cannot encode: \(count)")
        return Array(block[..<Int(count)])
    }

    /// - Returns: `nil` if it is no HPACK.
    func decode(_ block: [UInt8]) -> [RawField]? {
        var fields: [RawField] = []
        var block = block
        return block.withUnsafeMutableBufferPointer { buffer in
            var rest = UnsafeMutableBufferPointer(rebasing: buffer[...])
            while true {
                var line = nghttp2_nv()
                var flags: CInt = 0
                let count = nghttp2_hd_inflate_hd2(inflater, &line, &flags, rest.baseAddress, rest.count, 1)
                guard count >= 0 else { return nil }
                rest = UnsafeMutableBufferPointer(rebasing: rest[Int(count)...])
                if flags & CInt(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
                    fields.append(
                        RawField(
                            Array(UnsafeBufferPointer(start: line.name, count: line.namelen)),
                            Array(UnsafeBufferPointer(start: line.value, count: line.valuelen)),
                            neverIndexed: UInt32(line.flags) & NGHTTP2_NV_FLAG_NO_INDEX.rawValue != 0))
                }
                if flags & CInt(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 {
                    nghttp2_hd_inflate_end_headers(inflater)
                    return fields
                }
                if flags & CInt(NGHTTP2_HD_INFLATE_EMIT.rawValue) == 0, rest.isEmpty { return nil }
            }
        }
    }
}

/// Ours.
final class OwnHPACK {
    private let pool = HTTP2MemoryPool()
    private let core: UnsafeMutablePointer<Coders>

    private struct Coders: ~Copyable {
        var decoder: HPACKDecoder
        var encoder: HPACKEncoder
    }

    init(tableBytes: Int = 4096) {
        core = .allocate(capacity: 1)
        let pool = Unmanaged.passUnretained(pool)
        core.initialize(
            to: Coders(
                decoder: HPACKDecoder(limit: tableBytes, pool: pool),
                encoder: HPACKEncoder(limit: tableBytes, pool: pool)))
    }

    deinit {
        core.deinitialize(count: 1)
        core.deallocate()
    }

    /// Our SETTINGS were acknowledged.
    func settleDecoder(_ bytes: Int) { core.pointee.decoder.settle(limit: bytes) }

    /// What the peer's decoder allows.
    func limitEncoder(_ bytes: UInt32) { core.pointee.encoder.setPeerLimit(bytes) }

    /// - Returns: `nil` if it is no HPACK.
    func decode(_ block: [UInt8]) -> [RawField]? {
        // Exactly as long as the block: what is read behind it is found by the sanitizer, or is not the block's.
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(block.count, 1), alignment: 1)
        defer { memory.deallocate() }
        memory.copyBytes(from: block)
        let scratch = pool.scratch(core.pointee.decoder.scratchBytes(block.count))
        core.pointee.decoder.begin(UnsafeRawBufferPointer(rebasing: memory[..<block.count]), scratch: scratch)
        var field = HPACKDecoder.Field()
        var fields: [RawField] = []
        while true {
            switch core.pointee.decoder.next(&field) {
            case .field:
                fields.append(RawField(Array(field.name), Array(field.value), neverIndexed: field.neverIndexed))
                let known = field.name.baseAddress.map { FieldNameIndex.shared.recognise($0, field.name.count) }
                let isLower = field.name.allSatisfy { ASCII.lowercased($0) == $0 }
                precondition(field.known == (isLower ? known ?? .other : .other), "\(fields.last!) is not recognised")
            case .end: return fields
            case .failed: return nil
            }
        }
    }

    func encode(_ fields: [RawField]) -> [UInt8] {
        var writer = HTTP2HeadWriter(fields: max(fields.count, 1))
        writer.begin()
        var lent: [UnsafeMutableRawBufferPointer] = []
        defer { for buffer in lent { buffer.deallocate() } }
        func lend(_ bytes: [UInt8]) -> UnsafeRawBufferPointer {
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 1)
            memory.copyBytes(from: bytes)
            lent.append(memory)
            return UnsafeRawBufferPointer(rebasing: memory[..<bytes.count])
        }
        for field in fields {
            let name = lend(field.name)
            let known = FieldNameIndex.shared.recognise(name.baseAddress!, name.count)
            let pseudo = Self.pseudo[field.name]
            if let pseudo {
                writer.append(pseudo: pseudo, lend(field.value))
            } else if known != .other {
                writer.append(known, lend(field.value), neverIndexed: field.neverIndexed)
            } else {
                writer.append(name, lend(field.value), neverIndexed: field.neverIndexed)
            }
        }
        var most = HPACKEncoder.beginBound
        for position in 0..<writer.count { most += HPACKEncoder.bound(writer.fields[position]) }
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: most, alignment: 1)
        defer { block.deallocate() }
        var end = core.pointee.encoder.begin(at: block.baseAddress!)
        for position in 0..<writer.count { end = core.pointee.encoder.write(writer.fields[position], at: end) }
        let count = end - block.baseAddress!
        precondition(count <= most, "a block is longer than its bound")
        return Array(block[..<count])
    }

    private static let pseudo: [[UInt8]: UInt8] = [
        Array(":authority".utf8): HPACKStaticTable.authority, Array(":method".utf8): HPACKStaticTable.method,
        Array(":path".utf8): HPACKStaticTable.path, Array(":scheme".utf8): HPACKStaticTable.scheme,
        Array(":status".utf8): HPACKStaticTable.status,
    ]
}
