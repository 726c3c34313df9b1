// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import Testing

@Suite struct DirectoryWatchTests {
    @Test func seesFilesInDirectoriesThatAppearLater() throws {
        let root = try temporaryDirectory()
        defer { _ = system("rm -rf '\(root)'") }
        var watch = try DirectoryWatch(root: root)
        #expect(try watch.poll() == .none)

        try touch("\(root)/a.yaml")
        #expect(try watch.poll() == .changed)
        #expect(try watch.poll() == .none)

        try SystemError.check("mkdir") { mkdir("\(root)/sub", 0o755) }
        #expect(try watch.poll() == .changed)
        try touch("\(root)/sub/b.yaml")
        #expect(try watch.poll() == .changed)
        try SystemError.check("rename") { rename("\(root)/sub/b.yaml", "\(root)/sub/c.yaml") }
        #expect(try watch.poll() == .changed)
        try SystemError.check("unlink") { unlink("\(root)/sub/c.yaml") }
        #expect(try watch.poll() == .changed)
        #expect(try watch.poll() == .none)
    }

    @Test func followsDirectoriesThatWereThereBefore() throws {
        let root = try temporaryDirectory()
        defer { _ = system("rm -rf '\(root)'") }
        #expect(system("mkdir -p '\(root)/x/y/z'") == 0)
        var watch = try DirectoryWatch(root: root)
        try touch("\(root)/x/y/z/deep.yaml")
        #expect(try watch.poll() == .changed)
    }

    @Test func tellsWhenTheRootGoes() throws {
        let root = try temporaryDirectory()
        var watch = try DirectoryWatch(root: root)
        #expect(rmdir(root) == 0)
        // A child that another test forks may hold the directory open for a moment.
        var change = try watch.poll()
        for _ in 0..<500 where change != .rootGone {
            usleep(10_000)
            change = try watch.poll()
        }
        #expect(change == .rootGone)
    }

    @Test func refusesWhatIsNoDirectory() throws {
        let root = try temporaryDirectory()
        defer { _ = system("rm -rf '\(root)'") }
        try touch("\(root)/file")
        do {
            _ = try DirectoryWatch(root: "\(root)/file")
            Issue.record("a file was accepted")
        } catch {
            #expect(error.errnoCode == ENOTDIR)
        }
    }

    private func temporaryDirectory() throws -> String {
        var template = Array("/tmp/sockmesh-watch-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError("mkdtemp", errnoCode: errno) }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private func touch(_ path: String) throws(SystemError) {
        _ = try OwnedDescriptor(open: path, flags: O_CREAT | O_WRONLY, mode: 0o644)
    }
}
