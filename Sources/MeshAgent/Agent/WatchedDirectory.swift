// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import Logging

/// Tells the loop when something in a directory tree may have changed, also across removal and return of its root.
final class WatchedDirectory {
    private let path: String
    private let loop: EventLoop
    private let logger: Logger
    private var tree: DirectoryWatch?
    private var watch: EventLoop.Watch?
    private var timer: EventLoop.Timer?
    private var debounce: EventLoop.Timer?
    private var onChange: () -> Void = {}

    /// Changes within this time are told once: editors and `kubectl cp` make several events per file.
    private static let quiet = Duration.milliseconds(20)
    /// Between two looks for a root that is not there.
    private static let retry = Duration.seconds(1)

    init(_ path: String, loop: EventLoop, logger: Logger) {
        self.path = path
        self.loop = loop
        self.logger = logger
    }

    func start(_ onChange: @escaping () -> Void) {
        self.onChange = onChange
        open()
    }

    func stop() {
        close()
        if let timer { loop.cancel(timer) }
        if let debounce { loop.cancel(debounce) }
    }

    private func open() {
        do throws(SystemError) {
            let tree = try DirectoryWatch(root: path)
            watch = try loop.watch(tree.rawDescriptor, for: .readable) { [unowned self] _ in poll() }
            self.tree = consume tree
            // What changed between the last read and now was not seen.
            changed()
        } catch {
            logger.warning("configuration directory not watched; looking again", metadata: ["error": "\(error)"])
            timer = loop.schedule(after: Self.retry) { [unowned self] in open() }
        }
    }

    private func close() {
        if let watch { loop.unwatch(watch) }
        watch = nil
        tree = nil
    }

    private func poll() {
        let change = (try? tree?.poll()) ?? DirectoryWatch.Change.rootGone
        if change == .rootGone {
            close()
            timer = loop.schedule(after: Self.retry) { [unowned self] in open() }
        }
        if change != .none { changed() }
    }

    private func changed() {
        guard debounce == nil else { return }
        debounce = loop.schedule(after: Self.quiet) { [unowned self] in
            debounce = nil
            onChange()
        }
    }
}

/// Tells the loop when something changes in the directories of namespace files.
final class NamespaceWatch {
    private let loop: EventLoop
    private let logger: Logger
    private var inotify: Inotify?
    private var watch: EventLoop.Watch?
    private var directories: [String: CInt] = [:]
    private var onChange: (String) -> Void = { _ in }

    init(loop: EventLoop, logger: Logger) {
        self.loop = loop
        self.logger = logger
    }

    /// - Parameter onChange: called with the directory.
    func start(_ onChange: @escaping (String) -> Void) {
        self.onChange = onChange
        do throws(SystemError) {
            let inotify = try Inotify()
            watch = try loop.watch(inotify.rawDescriptor, for: .readable) { [unowned self] _ in poll() }
            self.inotify = consume inotify
        } catch {
            // A timer looks too, only not at once.
            logger.warning("namespace files not watched", metadata: ["error": "\(error)"])
        }
    }

    func stop() {
        if let watch { loop.unwatch(watch) }
        watch = nil
        inotify = nil
    }

    /// Watches exactly these; one that is not there is tried again with the next call.
    func watch(_ wanted: Set<String>) {
        for (directory, number) in directories where !wanted.contains(directory) {
            inotify?.remove(watch: number)
            directories[directory] = nil
        }
        for directory in wanted where directories[directory] == nil {
            directories[directory] = try? inotify?.watch(directory: directory)
        }
    }

    private func poll() {
        var touched: Set<String> = []
        for event in (try? inotify?.events()) ?? [] {
            if event.watch < 0 { touched.formUnion(directories.keys) }
            guard let directory = directories.first(where: { $0.value == event.watch })?.key else { continue }
            touched.insert(directory)
            if event.isGone { directories[directory] = nil }
        }
        for directory in touched { onChange(directory) }
    }
}
