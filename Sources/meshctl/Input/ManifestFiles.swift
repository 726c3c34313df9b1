// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import MeshAdmin

/// Reads what `-f` names: files, directories, and `-` for standard input.
enum ManifestFiles {
    private static let extensions: Set<String> = ["yaml", "yml", "json"]

    /// All files in the order in which they were named, those of a directory by name.
    ///
    /// - Parameters:
    ///   - recursive: also directories in directories.
    /// - Throws: ``AdminError`` `invalidInput` that names the file.
    static func read(
        _ names: [String], recursive: Bool,
        standardInput: () -> Data = { FileHandle.standardInput.readDataToEndOfFile() }
    ) throws(AdminError) -> [ManifestFile] {
        if names.count(where: { $0 == "-" }) > 1 {
            throw AdminError(.invalidInput, "standard input can be read only once", hint: "give -f - once")
        }
        var files: [ManifestFile] = []
        for name in names {
            if name == "-" {
                files.append(try file("<stdin>", standardInput()))
                continue
            }
            let paths = try paths(name, recursive: recursive)
            for path in paths { files.append(try file(path, try contents(path))) }
        }
        let size = files.reduce(0) { $0 + $1.content.utf8.count }
        let limit = AdminLimits().writerRequest
        if size > limit - limit / 8 {
            throw AdminError(
                .tooLarge, "the manifests have \(size) bytes, more than one call can carry (\(limit - limit / 8))",
                hint: "apply them in several calls")
        }
        return files
    }

    private static func paths(_ name: String, recursive: Bool) throws(AdminError) -> [String] {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: name, isDirectory: &isDirectory) else {
            throw AdminError(.invalidInput, "\(name): no such file or directory")
        }
        guard isDirectory.boolValue else { return [name] }
        let found = try manifests(below: name, recursive: recursive)
        guard !found.isEmpty else {
            throw AdminError(
                .invalidInput, "\(name): no manifests in this directory",
                hint: "files must end in .yaml, .yml or .json; --recursive also looks into directories")
        }
        return found
    }

    private static func manifests(below directory: String, recursive: Bool) throws(AdminError) -> [String] {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
        } catch {
            throw AdminError(.invalidInput, "\(directory): cannot read the directory: \(describe(error))")
        }
        var found: [String] = []
        for name in names where !name.hasPrefix(".") {
            let path = directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)"
            var isDirectory: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
            if isDirectory.boolValue {
                if recursive { found += try manifests(below: path, recursive: true) }
            } else if let dot = name.lastIndex(of: "."),
                extensions.contains(name[name.index(after: dot)...].lowercased())
            {
                found.append(path)
            }
        }
        return found
    }

    private static func contents(_ path: String) throws(AdminError) -> Data {
        do {
            return try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw AdminError(.invalidInput, "\(path): cannot read the file: \(describe(error))")
        }
    }

    private static func file(_ name: String, _ data: Data) throws(AdminError) -> ManifestFile {
        guard let content = String(validating: data, as: UTF8.self) else {
            throw AdminError(.invalidInput, "\(name): not UTF-8 text")
        }
        return ManifestFile(name: name, content: content)
    }

    /// The reason alone: Foundation's own text repeats the path in quotes.
    private static func describe(_ error: any Error) -> String {
        let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
        guard let underlying, underlying.domain == NSPOSIXErrorDomain else { return error.localizedDescription }
        return String(cString: strerror(Int32(underlying.code)))
    }
}
