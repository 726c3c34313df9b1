// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO

/// A connection to an agent. Blocking: for programs that do one thing, such as `meshctl`.
public struct AdminClient: ~Copyable {
    /// What arrives while a call is answered, besides items.
    public enum Notice: Equatable, Sendable {
        /// What the agent is doing.
        case progress(String)
        /// So many items were dropped at this place, because they were not read fast enough.
        case lost(UInt64)
    }

    /// Whether the caller wants more items.
    public enum Continuation: Sendable {
        case more
        case stop
    }

    /// Program and version of the agent.
    public let agent: String
    /// Node of the agent.
    public let node: String
    private let stream: UnixStream
    private let path: String
    private var framer = LineFramer(limit: AdminLimits().response)
    private var lastID: UInt64 = 0

    /// Silence after which an agent counts as hung. Longer than any answer takes on a loaded node.
    public static let patience = Duration.seconds(60)

    /// Connects and exchanges hellos.
    ///
    /// - Parameters:
    ///   - path: of the socket.
    ///   - name: program and version of the caller, for messages of the agent.
    /// - Throws: ``AdminError``: `unreachable`, `permissionDenied`, `versionMismatch`, `busy`, `timeout`.
    public init(path: String, name: String) throws(AdminError) {
        let stream: UnixStream
        do throws(SystemError) {
            stream = try UnixStream(connectingTo: path, timeout: .seconds(5))
        } catch {
            throw SocketFiles.explain(error, path: path)
        }
        var framer = LineFramer(limit: AdminLimits().response)
        let hello = HelloFrame(hello: HelloFrame.Hello(protocol: AdminProtocol.version, name: name, node: nil))
        try Self.write(try WireJSON.line(hello), to: stream, path: path)
        let line = try Self.nextLine(&framer, from: stream, path: path, patience: .seconds(10))
        let frame = try WireJSON.decode(ResponseFrame<Bool>.self, from: line, what: "the hello of the agent")
        if let error = frame.error { throw error }
        guard let answer = frame.hello else {
            throw AdminError(.versionMismatch, "what listens on \(path) is not an agent", hint: "check --socket")
        }
        guard answer.protocol == AdminProtocol.version else {
            throw AdminError(
                .versionMismatch,
                "\(answer.name) speaks admin protocol \(answer.protocol), \(name) speaks \(AdminProtocol.version)",
                hint: "use the meshctl that came with the agent")
        }
        agent = answer.name
        node = answer.node ?? ""
        self.path = path
        self.framer = framer
        self.stream = stream
    }

    /// Makes a call and hands over its items as they arrive.
    ///
    /// - Parameters:
    ///   - patience: silence after which the call fails with `timeout`; `nil`: none, for streams of events.
    ///   - notice: called for what is not an item.
    ///   - body: called for each item; after ``Continuation/stop`` the client cannot be used for another call.
    /// - Throws: ``AdminError``, of the agent or of the connection.
    public mutating func call<Call: AdminCall>(
        _ call: Call, patience: Duration? = AdminClient.patience,
        notice: (Notice) throws(AdminError) -> Void = { (_) throws(AdminError) in },
        _ body: (Call.Item) throws(AdminError) -> Continuation
    ) throws(AdminError) {
        lastID += 1
        try Self.write(try WireJSON.line(RequestFrame(id: lastID, arguments: call)), to: stream, path: path)
        while true {
            let line = try Self.nextLine(&framer, from: stream, path: path, patience: patience)
            let frame = try WireJSON.decode(ResponseFrame<Call.Item>.self, from: line, what: "the answer of the agent")
            if let error = frame.error { throw error }
            guard frame.id == lastID else {
                throw AdminError(.failed, "the agent answered a call that was not made")
            }
            if let item = frame.item, try body(item) == .stop { return }
            if let progress = frame.progress { try notice(.progress(progress)) }
            if let lost = frame.lost { try notice(.lost(lost)) }
            if frame.end == true { return }
        }
    }

    /// Makes a call and returns all items.
    public mutating func list<Call: AdminCall>(_ call: Call) throws(AdminError) -> [Call.Item] {
        var items: [Call.Item] = []
        try self.call(call) { (item) throws(AdminError) in
            items.append(item)
            return .more
        }
        return items
    }

    /// Makes a call whose answer is one item.
    public mutating func one<Call: AdminCall>(
        _ call: Call, notice: (Notice) throws(AdminError) -> Void = { (_) throws(AdminError) in }
    ) throws(AdminError) -> Call.Item {
        var found: Call.Item?
        try self.call(call, notice: notice) { (item) throws(AdminError) in
            found = item
            return .more
        }
        guard let found else {
            throw AdminError(.failed, "the agent ended the answer to \(Call.method) without a result")
        }
        return found
    }

    // MARK: - Transport

    private static func write(_ bytes: [UInt8], to stream: borrowing UnixStream, path: String) throws(AdminError) {
        var sent = 0
        while sent < bytes.count {
            do throws(SystemError) {
                switch try send(bytes, from: sent, to: stream) {
                case .bytes(let count): sent += count
                case .wouldBlock: throw SystemError("send", path, errnoCode: ETIMEDOUT)
                // Refused before it was read to the end: the reason waits to be read.
                case .closed: return
                }
            } catch {
                throw AdminError(
                    error.errnoCode == ETIMEDOUT ? .timeout : .unreachable,
                    "cannot send to the agent on \(path): \(error)", hint: "see the agent's log")
            }
        }
    }

    private static func send(
        _ bytes: [UInt8], from start: Int, to stream: borrowing UnixStream
    ) throws(SystemError) -> UnixStream.Transfer {
        try bytes.withUnsafeBufferPointer { (bytes) throws(SystemError) in
            try stream.write(UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes[start...])))
        }
    }

    private static func nextLine(
        _ framer: inout LineFramer, from stream: borrowing UnixStream, path: String, patience: Duration?
    ) throws(AdminError) -> [UInt8] {
        while true {
            do throws(LineFramer.LineTooLong) {
                if let line = try framer.next() { return line }
            } catch {
                throw AdminError(.tooLarge, "a message of the agent is larger than \(error.limit) bytes")
            }
            framer.append(try receive(from: stream, path: path, patience: patience))
        }
    }

    /// The bytes that arrive next; at least one.
    private static func receive(
        from stream: borrowing UnixStream, path: String, patience: Duration?
    ) throws(AdminError) -> [UInt8] {
        var bytes: [UInt8] = []
        let isReadable: Bool
        do throws(SystemError) {
            isReadable = try stream.waitUntilReadable(atMost: patience)
            if isReadable {
                try withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 1) {
                    (buffer) throws(SystemError) in
                    if case .bytes(let count) = try stream.read(into: buffer) { bytes = Array(buffer.prefix(count)) }
                }
            }
        } catch {
            throw AdminError(.unreachable, "cannot read from the agent on \(path): \(error)", hint: "see its log")
        }
        if let patience, !isReadable {
            throw AdminError(
                .timeout, "the agent on \(path) has said nothing for \(patience)", hint: "see its log; it may hang")
        }
        guard !bytes.isEmpty else {
            throw AdminError(
                .unreachable, "the agent on \(path) closed the connection before the end of the answer",
                hint: "see its log; it may have stopped")
        }
        return bytes
    }
}
