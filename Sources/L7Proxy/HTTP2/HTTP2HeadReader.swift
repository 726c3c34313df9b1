// SPDX-License-Identifier: Apache-2.0

/// Makes a head in the common message model out of the fields of a decoded HTTP/2 header block (RFC 9113 section 8.3).
///
/// Bytes are laid out as HTTP/1 lays them out: method, space, target; then `name: value CRLF` for each field. So
/// router, policy and writers need not know by which protocol a message came, and a writer of HTTP/1 copies runs of
/// lines as it does for HTTP/1. Cookie crumbs are joined (section 8.2.3).
///
/// Names are lower-case tokens, and values hold no control character and no whitespace at their ends (section 8.2.1): the
/// decoder has not looked at them. What HTTP/1 would be strict about is checked besides.
struct HTTP2HeadReader: ~Copyable {
    enum Kind: Equatable {
        case request, response, trailers
        /// Trailers that we send: names may be of any case, and were checked where they come from.
        case outgoingTrailers
    }

    /// Bytes that may be read, but mean nothing, after the last one: words are compared, not bytes.
    private static let slack = 8
    /// Most heads fit.
    private let firstCapacity: Int
    /// Of one field name, in bytes; as ``HTTP1Limits/fieldNameBytes``, for both write what the other has read.
    private static let nameLimit = 256
    /// What is kept of a larger memory when the message is gone.
    private static let keptCapacity = 16 * 1024

    /// The memory that all ranges are for.
    var bytes: UnsafeMutableRawPointer
    private var capacity: Int
    var count = 0

    var fields: FieldTable
    var request = RequestHead()
    var response = ResponseHead()
    /// The first thing that was found wrong. Later fields are not looked at.
    private(set) var defect: MalformedMessage?
    /// Names, values and 32 bytes for each field (RFC 9113 section 6.5.2), of those not kept too.
    private(set) var listBytes = 0

    private let listLimit: Int
    private let methodLimit: Int
    private let targetLimit: Int
    private var kind = Kind.request
    var facts = HeadFacts()
    var pseudo = Pseudo()
    var cookies = 0

    /// Pseudo-header fields as they came.
    struct Pseudo {
        var method = ByteRange.empty
        var path = ByteRange.empty
        var authority = ByteRange.empty
        var protocolName = ByteRange.empty
        var seen: Seen = []
        var isHTTPS = false
    }

    struct Seen: OptionSet {
        let rawValue: UInt8
        static let method = Seen(rawValue: 1)
        static let path = Seen(rawValue: 2)
        static let scheme = Seen(rawValue: 4)
        static let authority = Seen(rawValue: 8)
        static let status = Seen(rawValue: 16)
        /// A field that is none: no pseudo-header field may follow.
        static let regular = Seen(rawValue: 32)
        static let protocolName = Seen(rawValue: 64)
    }

    init(fields fieldLimit: Int, listBytes: Int, methodBytes: Int, targetBytes: Int) {
        fields = FieldTable(capacity: fieldLimit)
        listLimit = listBytes
        methodLimit = methodBytes
        targetLimit = targetBytes
        firstCapacity = 2048
        capacity = firstCapacity
        bytes = Self.memory(capacity)
    }

    /// One for trailer sections only.
    init(trailerFields: Int, listBytes: Int) {
        fields = FieldTable(capacity: trailerFields)
        listLimit = listBytes
        methodLimit = 0
        targetLimit = 0
        firstCapacity = 256
        capacity = firstCapacity
        bytes = Self.memory(capacity)
    }

    deinit { bytes.deallocate() }

    private static func memory(_ capacity: Int) -> UnsafeMutableRawPointer {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: capacity + slack, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: capacity + slack)
        return memory
    }

    /// Makes ready for another header block.
    mutating func begin(_ kind: Kind) {
        self.kind = kind
        count = 0
        fields.removeAll()
        request = RequestHead()
        response = ResponseHead()
        defect = nil
        listBytes = 0
        facts = HeadFacts()
        pseudo = Pseudo()
        cookies = 0
    }

    /// Gives back what one unusually large message has needed.
    mutating func trim() {
        guard capacity > Self.keptCapacity else { return }
        bytes.deallocate()
        capacity = firstCapacity
        bytes = Self.memory(capacity)
        count = 0
        fields.removeAll()
    }

    mutating func fail(_ reason: MalformedMessage) {
        if defect == nil { defect = reason }
    }

    /// Takes one field, in the order in which they come.
    ///
    /// - Parameters:
    ///   - known: The name as it was recognised, in lower case unless it is of trailers that we send.
    ///   - neverIndexed: The sender forbids to put it into a compression table (RFC 7541 section 7.1.3).
    @inline(__always)
    mutating func add(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ known: FieldName, neverIndexed: Bool
    ) {
        listBytes &+= name.count &+ value.count &+ 32
        guard defect == nil else { return }
        guard listBytes <= listLimit else { return fail(.headTooLarge) }
        guard let text = name.baseAddress, !name.isEmpty else { return fail(.invalidHTTP2Message) }
        if text.load(as: UInt8.self) == ASCII.colon {
            addPseudo(name, value)
        } else {
            addField(text, name.count, value, known, neverIndexed)
        }
    }

    private mutating func addField(
        _ name: UnsafeRawPointer, _ nameLength: Int, _ value: UnsafeRawBufferPointer, _ known: FieldName,
        _ neverIndexed: Bool
    ) {
        if !pseudo.seen.contains(.regular) {
            pseudo.seen.insert(.regular)
            if kind == .response { appendReason() }
        }
        guard nameLength <= Self.nameLimit else { return fail(.fieldNameTooLong) }
        if kind != .outgoingTrailers {
            guard known != .other || Self.isName(name, nameLength), Self.isValue(value) else {
                return fail(.invalidHTTP2Message)
            }
            // RFC 9113 section 8.2.2: the connection is not the message's affair in HTTP/2.
            if FieldNameSet.ofConnection.contains(known) || known == .te && !ASCII.equal(value, "trailers") {
                return fail(.connectionField)
            }
        }
        let start = count
        reserve(nameLength &+ value.count &+ 4)
        append(UnsafeRawBufferPointer(start: name, count: nameLength))
        append(UInt16(bigEndian: 0x3a20))
        append(value)
        append(UInt16(bigEndian: 0x0d0a))
        var field = Field(
            nameOffset: UInt32(truncatingIfNeeded: start),
            valueOffset: UInt32(truncatingIfNeeded: start &+ nameLength &+ 2),
            valueLength: UInt32(truncatingIfNeeded: value.count), nameLength: UInt16(truncatingIfNeeded: nameLength),
            name: known, marks: neverIndexed ? [.canonical, .neverIndexed] : .canonical)
        if kind == .trailers || kind == .outgoingTrailers {
            if FieldNameSet.refusedInTrailers.contains(known) { return fail(.forbiddenTrailer) }
            if FieldNameSet.droppedInTrailers.contains(known) { field.marks.insert(.dropped) }
        } else if let wrong = check(field) {
            return fail(wrong)
        }
        guard fields.append(field) else { return fail(.tooManyFields) }
    }

    /// RFC 9113 section 8.2.1: a token in lower case.
    private static func isName(_ name: UnsafeRawPointer, _ length: Int) -> Bool {
        for offset in 0..<length {
            let byte = (name + offset).load(as: UInt8.self)
            guard ASCII.isToken(byte), ASCII.lowercased(byte) == byte else { return false }
        }
        return true
    }

    /// RFC 9113 section 8.2.1. Of control characters HTTP/1 allows HTAB alone (RFC 9110 section 5.5).
    @inline(__always)
    private static func isValue(_ value: UnsafeRawBufferPointer) -> Bool {
        guard let start = value.baseAddress, let first = value.first, let last = value.last else { return true }
        return !ASCII.isBlank(first) && !ASCII.isBlank(last)
            && ByteScanner.firstControl(start, from: 0, to: value.count) == value.count
    }

    /// What a known field says about the message, and whether it may be there at all.
    @inline(__always)
    private mutating func check(_ field: Field) -> MalformedMessage? {
        switch field.name {
        // Twice the same is no list here, as some make of it in HTTP/1 (RFC 9110 section 8.6).
        case .contentLength: noteContentLength(field)
        case .cookie: countCookie()
        case .host: kind == .request ? note(field) : nil
        default: note(field)
        }
    }

    private mutating func noteContentLength(_ field: Field) -> MalformedMessage? {
        guard !facts.options.contains(.hasContentLength) else { return .invalidContentLength }
        for byte in field.valueRange.bytes(in: bytes) where !ASCII.isDigit(byte) { return .invalidContentLength }
        return note(field)
    }

    private mutating func countCookie() -> MalformedMessage? {
        cookies &+= 1
        return nil
    }

    @inline(__always)
    private mutating func note(_ field: Field) -> MalformedMessage? {
        facts.note(field, in: bytes, optionLimit: 0)
    }

    // MARK: Memory

    @inline(__always)
    mutating func reserve(_ more: Int) {
        if capacity &- count < more { grow(more) }
    }

    /// The list limit bounds it: each byte here belongs to a field that was counted, or to the lines made from those.
    @inline(never)
    private mutating func grow(_ more: Int) {
        var larger = capacity
        while larger - count < more { larger *= 2 }
        let memory = Self.memory(larger)
        memory.copyMemory(from: bytes, byteCount: count)
        bytes.deallocate()
        bytes = memory
        capacity = larger
    }

    @inline(__always)
    mutating func append(_ source: UnsafeRawBufferPointer) {
        guard let start = source.baseAddress else { return }
        (bytes + count).copyMemory(from: start, byteCount: source.count)
        count &+= source.count
    }

    @inline(__always)
    mutating func append(_ pair: UInt16) {
        (bytes + count).storeBytes(of: pair, as: UInt16.self)
        count &+= 2
    }
}

// MARK: - Pseudo-header fields

extension HTTP2HeadReader {
    private mutating func addPseudo(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        guard !pseudo.seen.contains(.regular), kind == .request || kind == .response else {
            return fail(.invalidPseudoField)
        }
        if kind == .response {
            guard Self.isNamed(name, ":status") else { return fail(.invalidPseudoField) }
            return once(.status) ? addStatus(value) : ()
        }
        reserve(value.count &+ 2)
        let start = count
        append(value)
        let range = ByteRange(start, count)
        if Self.isNamed(name, ":method") {
            guard once(.method) else { return }
            guard ASCII.isToken(value) else { return fail(.invalidMethod) }
            guard value.count <= methodLimit else { return fail(.methodTooLong) }
            pseudo.method = range
            // Where :path comes next, the two stand as in a request line.
            (bytes + count).storeBytes(of: ASCII.space, as: UInt8.self)
            count &+= 1
        } else if Self.isNamed(name, ":path") {
            guard once(.path) else { return }
            guard value.count <= targetLimit else { return fail(.targetTooLong) }
            pseudo.path = range
        } else if Self.isNamed(name, ":authority") {
            guard once(.authority) else { return }
            pseudo.authority = range
        } else if Self.isNamed(name, ":scheme") {
            guard once(.scheme) else { return }
            pseudo.isHTTPS = ASCII.equal(value, "https")
            // RFC 9113 section 8.3.1 knows other schemes, for gateways to other protocols.
            guard pseudo.isHTTPS || ASCII.equal(value, "http") else { return fail(.invalidPseudoField) }
            count = start
        } else if Self.isNamed(name, ":protocol") {
            guard once(.protocolName) else { return }
            guard ASCII.isToken(value) else { return fail(.invalidPseudoField) }
            pseudo.protocolName = range
        } else {
            fail(.invalidPseudoField)
        }
    }

    @inline(__always)
    private static func isNamed(_ name: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        ASCII.isSame(name, ASCII.bytes(of: text))
    }

    private mutating func once(_ field: Seen) -> Bool {
        if pseudo.seen.insert(field).inserted { return true }
        fail(.repeatedPseudoField)
        return false
    }

    private mutating func addStatus(_ value: UnsafeRawBufferPointer) {
        var status: UInt16 = 0
        guard value.count == 3 else { return fail(.invalidStatusLine) }
        for byte in value {
            guard ASCII.isDigit(byte) else { return fail(.invalidStatusLine) }
            status = status &* 10 &+ UInt16(byte &- 0x30)
        }
        guard status >= 100, status < 600 else { return fail(.invalidStatusLine) }
        // RFC 9113 section 8.6: there is no 101.
        guard status != 101 else { return fail(.unexpectedSwitchingProtocols) }
        response.status = status
    }

    /// HTTP/2 has no reason phrase; a writer of HTTP/1 finds the usual one.
    mutating func appendReason() {
        let reason = StatusText.reason(response.status)
        reserve(reason.utf8CodeUnitCount)
        let start = count
        append(UnsafeRawBufferPointer(start: reason.utf8Start, count: reason.utf8CodeUnitCount))
        response.reason = ByteRange(start, count)
    }
}

extension Field.Marks {
    /// Must not enter a compression table, of ours neither (RFC 7541 section 7.1.3).
    static let neverIndexed = Field.Marks(rawValue: 4)
}
