// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import meshload

struct OptionsTests {
    @Test func sizesTakeSuffixes() throws {
        var options = try Options(["--a", "64K", "--b", "3M", "--c", "50G", "--d", "17", "--flag"])
        #expect(try options.integer("a", default: 0) == 65_536)
        #expect(try options.integer("b", default: 0) == 3 << 20)
        #expect(try options.integer("c", default: 0) == 50 << 30)
        #expect(try options.integer("d", default: 0) == 17)
        #expect(try options.integer("e", default: 5) == 5)
        let flag = options.flag("flag")
        #expect(flag)
        try options.finish()
    }

    @Test(arguments: ["", "K", "-1", "1T", "12x", "99999999999G"])
    func aNumberThatIsNoneIsRefused(text: String) throws {
        var options = try Options(["--bytes", text])
        #expect(throws: LoadError.self) { try options.integer("bytes", default: 0) }
    }

    @Test func aMisspeltOptionIsRefused() throws {
        var options = try Options(["--sceonds", "3"])
        _ = try options.seconds("seconds", default: 1)
        #expect(throws: LoadError.self) { try options.finish() }
    }

    @Test func anArgumentWithoutANameIsRefused() {
        #expect(throws: LoadError.self) { try Options(["10.0.0.1"]) }
    }
}
