// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshManifests

@Suite struct ManifestDirectoryTests {
    private func namespace(_ name: String) -> String {
        "{apiVersion: v1, kind: Namespace, metadata: {name: \(name)}}\n"
    }

    private func names(_ snapshot: DirectorySnapshot) -> [String] {
        snapshot.files.flatMap { $0.manifest.objects.map(\.reference.name) }
    }

    @Test func readsWhatLooksLikeAManifest() throws {
        let place = TemporaryDirectory()
        place.makeDirectory("sub")
        place.makeDirectory(".hidden")
        place.write("a.yaml", namespace("a"))
        place.write("sub/b.yml", namespace("b"))
        place.write("c.json", "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"c\"}}")
        for name in [".d.yaml", "d.yaml~", ".d.yaml.swp", "#d.yaml#", "d.txt", ".hidden/d.yaml", ".#d.yaml"] {
            place.write(name, namespace("d"))
        }
        var directory = ManifestDirectory(path: place.path)
        let snapshot = try directory.scan(acceptsUnsettled: true)
        #expect(names(snapshot) == ["a", "c", "b"])
        #expect(snapshot.directories == [place.path, "\(place.path)/sub"])
        #expect(snapshot.findings.isEmpty)
    }

    @Test func onlyChangedFilesAreReadAgain() throws {
        let place = TemporaryDirectory()
        for name in ["a", "b", "c"] {
            place.write("\(name).yaml", namespace(name))
            place.age("\(name).yaml")
        }
        var directory = ManifestDirectory(path: place.path)
        #expect(try directory.scan().changed.count == 3)
        #expect(try directory.scan().changed.isEmpty)
        place.write("b.yaml", namespace("x"))
        place.age("b.yaml")
        place.remove("c.yaml")
        let snapshot = try directory.scan()
        #expect(snapshot.changed == ["\(place.path)/b.yaml"])
        #expect(snapshot.removed == ["\(place.path)/c.yaml"])
        #expect(names(snapshot) == ["a", "x"])
    }

    @Test func aFileThatIsBeingWrittenKeepsItsOlderVersion() throws {
        let place = TemporaryDirectory()
        place.write("a.yaml", namespace("a"))
        place.age("a.yaml")
        var directory = ManifestDirectory(path: place.path)
        _ = try directory.scan()
        place.write("a.yaml", "")
        place.write("b.yaml", namespace("b"))
        let during = try directory.scan()
        #expect(names(during) == ["a"])
        #expect(during.unsettled == ["\(place.path)/a.yaml", "\(place.path)/b.yaml"])
        #expect(during.removed.isEmpty)
        place.write("a.yaml", namespace("c"))
        #expect(names(try directory.scan(complete: ["\(place.path)/a.yaml"])) == ["c"])
        place.age("b.yaml")
        #expect(names(try directory.scan(acceptsUnsettled: true)) == ["c", "b"])
    }

    @Test func aFileChangedWithinTheClockTickIsReadAgain() throws {
        let place = TemporaryDirectory()
        var directory = ManifestDirectory(path: place.path)
        for name in ["a", "b", "c", "d"] {
            place.write("x.yaml", namespace(name))
            #expect(names(try directory.scan(acceptsUnsettled: true)) == [name])
        }
    }

    @Test func aMountedConfigMapIsFollowed() throws {
        let place = TemporaryDirectory()
        place.makeDirectory("..1")
        place.makeDirectory("..2")
        place.write("..1/a.yaml", namespace("a"))
        place.write("..2/a.yaml", namespace("b"))
        place.link("..data", to: "..1")
        place.link("a.yaml", to: "..data/a.yaml")
        var directory = ManifestDirectory(path: place.path)
        #expect(names(try directory.scan(acceptsUnsettled: true)) == ["a"])
        place.link("..data", to: "..2")
        #expect(names(try directory.scan(acceptsUnsettled: true)) == ["b"])
    }

    @Test func whatCannotBeReadIsAFinding() throws {
        let place = TemporaryDirectory()
        place.link("a.yaml", to: "nowhere")
        place.link("b.yaml", to: "b.yaml")
        place.link("loop", to: ".")
        place.write("c.yaml", namespace("c"))
        var directory = ManifestDirectory(
            path: place.path,
            decoder: ManifestDecoder(unknownKinds: .warn, limits: YAMLLimits(fileBytes: 100)))
        place.write("d.yaml", String(repeating: "#", count: 101))
        let snapshot = try directory.scan(acceptsUnsettled: true)
        let findings = snapshot.files.flatMap(\.manifest.findings).map(\.description)
        #expect(findings.contains("\(place.path)/a.yaml: open: No such file or directory (it does not exist)"))
        #expect(
            findings.contains(
                "\(place.path)/b.yaml: open: Too many levels of symbolic links (a symbolic link leads back to itself)"))
        #expect(
            findings.contains(
                "\(place.path)/d.yaml: read: File too large (it is too large for a manifest; split it)"))
        #expect(snapshot.findings.count == 1)
        #expect(names(snapshot).contains("c"))
    }

    @Test func aMissingDirectoryIsAnError() {
        var directory = ManifestDirectory(path: "/nonexistent/config")
        #expect(throws: StateFileError("read directory", "/nonexistent/config", code: 2)) {
            try directory.scan()
        }
    }
}
