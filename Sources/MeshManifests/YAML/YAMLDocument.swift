// SPDX-License-Identifier: Apache-2.0

/// The text of one document of a YAML stream.
///
/// The stream is cut before it is parsed, so that a syntax error in one document leaves its neighbours readable, and
/// each document keeps the text that its author wrote. Cutting by lines is exact: `---` and `...` at the start of a
/// line mark documents in every context (YAML 1.2.2, 9.1.2: they are forbidden inside scalars).
public struct YAMLDocument: Equatable, Sendable {
    public let text: String
    /// The line of the file on which `text` begins, counted from 1.
    public let firstLine: Int

    public init(text: String, firstLine: Int = 1) {
        self.text = text
        self.firstLine = firstLine
    }

    /// The documents of `bytes`, which must be UTF-8; documents without content are included.
    ///
    /// - Throws: ``YAMLSyntaxError`` if the bytes are not UTF-8 or exceed ``YAMLLimits/fileBytes``.
    static func split(_ bytes: [UInt8], limits: YAMLLimits) throws(YAMLSyntaxError) -> [YAMLDocument] {
        guard bytes.count <= limits.fileBytes else {
            throw YAMLSyntaxError(
                line: 0, column: 0, reason: "the file has \(bytes.count) bytes; the limit is \(limits.fileBytes)",
                remedy: "split it into several files")
        }
        if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
            throw YAMLSyntaxError(
                line: 1, column: 1, reason: "the file is UTF-16, not UTF-8", remedy: "convert it: iconv -t UTF-8")
        }
        let content = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes[3...] : bytes[...]
        guard String(validating: content, as: UTF8.self) != nil else { throw invalidUTF8(content) }

        var documents: [YAMLDocument] = []
        var current = Cut(start: content.startIndex, firstLine: 1)
        var lineStart = content.startIndex
        var line = 1
        while lineStart < content.endIndex {
            let next = content.lineEnd(from: lineStart)
            switch LineKind(content[lineStart..<next]) {
            case .documentStart where current.hasMarker || current.hasContent:
                documents.append(current.document(of: content, upTo: lineStart))
                current = Cut(start: lineStart, firstLine: line)
                current.hasMarker = true
            case .documentStart:
                current.hasMarker = true
            case .documentEnd:
                documents.append(current.document(of: content, upTo: lineStart))
                current = Cut(start: next, firstLine: line + 1)
            case .blank: break
            case .content: current.hasContent = true
            }
            lineStart = next
            line += 1
        }
        documents.append(current.document(of: content, upTo: content.endIndex))
        return documents
    }

    private static func invalidUTF8(_ bytes: ArraySlice<UInt8>) -> YAMLSyntaxError {
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        var (line, column) = (1, 1)
        while case .scalarValue(let scalar) = decoder.decode(&iterator) {
            (line, column) = scalar == "\n" ? (line + 1, 1) : (line, column + 1)
        }
        return YAMLSyntaxError(
            line: line, column: column, reason: "the bytes here are not UTF-8", remedy: "save the file as UTF-8")
    }
}

/// A document while its end is still being looked for.
private struct Cut {
    let start: Int
    let firstLine: Int
    var hasMarker = false
    var hasContent = false

    init(start: Int, firstLine: Int) {
        self.start = start
        self.firstLine = firstLine
    }

    func document(of bytes: ArraySlice<UInt8>, upTo end: Int) -> YAMLDocument {
        YAMLDocument(text: String(decoding: bytes[start..<end], as: UTF8.self), firstLine: firstLine)
    }
}

/// What a line means for the cutting of documents.
private enum LineKind {
    case documentStart, documentEnd, blank, content

    init(_ line: ArraySlice<UInt8>) {
        let afterMarker = line.dropFirst(3).first
        let isMarker = afterMarker.map { [0x20, 0x09, 0x0A, 0x0D].contains($0) } ?? true
        if isMarker, line.starts(with: "---".utf8) {
            self = .documentStart
        } else if isMarker, line.starts(with: "...".utf8) {
            self = .documentEnd
        } else {
            switch line.first(where: { $0 != 0x20 && $0 != 0x09 }) {
            case nil, UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "#"): self = .blank
            // A directive belongs to the document whose `---` follows.
            case UInt8(ascii: "%") where line.first == UInt8(ascii: "%"): self = .blank
            default: self = .content
            }
        }
    }
}

extension ArraySlice<UInt8> {
    /// The index after the line break that ends the line at `start`; LF, CR and CRLF break lines.
    fileprivate func lineEnd(from start: Int) -> Int {
        var index = start
        while index < endIndex {
            let byte = self[index]
            index += 1
            if byte == UInt8(ascii: "\n") { return index }
            if byte == UInt8(ascii: "\r") {
                return index < endIndex && self[index] == UInt8(ascii: "\n") ? index + 1 : index
            }
        }
        return endIndex
    }
}
