// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import MeshModel

@Suite struct RegexTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let pattern: String
        let matching: [String]
        let others: [String]

        init(_ pattern: String, _ matching: [String], not others: [String]) {
            self.pattern = pattern
            self.matching = matching
            self.others = others
        }

        var testDescription: String { pattern }
    }

    @Test(arguments: [
        Case("", [""], not: ["a"]),
        Case("abc", ["abc"], not: ["ab", "abcd", "xabc"]),
        Case("/v[0-9]+/users", ["/v1/users", "/v22/users"], not: ["/v/users", "/v1/users/"]),
        Case("a|bc|", ["a", "bc", ""], not: ["b", "abc"]),
        Case("(a|b)*c", ["c", "abbac"], not: ["ab", "abcb"]),
        Case("a{2,3}", ["aa", "aaa"], not: ["a", "aaaa"]),
        Case("a{2}", ["aa"], not: ["a", "aaa"]),
        Case("a{2,}b?", ["aa", "aaaab"], not: ["ab"]),
        Case("a{0}b", ["b"], not: ["ab"]),
        Case("(ab){0,2}", ["", "ab", "abab"], not: ["a", "ababab"]),
        Case("^/foo$", ["/foo"], not: ["/foo/"]),
        Case("(^a|b)c$", ["ac", "bc"], not: ["abc"]),
        Case("a^b", [], not: ["ab", "a^b"]),
        Case("a$b|c", ["c"], not: ["ab"]),
        Case("(^|x)*a", ["a", "xa", "xxa"], not: ["", "ax"]),
        Case("x(^)?a", ["xa"], not: ["a"]),
        Case("^*a$+", ["a"], not: ["aa"]),
        Case(".*", ["", "anything"], not: ["two\nlines"]),
        Case("(?s).*", ["two\nlines"], not: []),
        Case("(?i)Get", ["get", "GET"], not: ["g3t"]),
        Case("(?i:a)b", ["ab", "Ab"], not: ["aB"]),
        Case("a(?i)b|c", ["ab", "aB", "C"], not: ["Ab"]),
        Case("(a(?i)b)c", ["aBc"], not: ["aBC"]),
        Case("(?i)[^a]", ["b"], not: ["a", "A"]),
        Case("[]a]", ["]", "a"], not: ["b"]),
        Case("[^]a]", ["b"], not: ["]", "a"]),
        Case("[a-]", ["a", "-"], not: ["b"]),
        Case("[\\d\\-x]+", ["1-x"], not: ["y"]),
        Case("[[:alpha:]_]+", ["a_Z"], not: ["1"]),
        Case("[[:^digit:]]", ["a"], not: ["1"]),
        Case("\\w\\s\\D\\.\\/", ["a x./"], not: ["a 1./"]),
        Case("\\x41\\t", ["A\t"], not: ["a\t"]),
        Case("(?P<year>\\d{4})-(?<month>\\d\\d)", ["2025-01"], not: ["2025-1"]),
        Case("a*?b+?", ["b", "aab"], not: ["a"]),
        Case("\u{e9}+", ["\u{e9}\u{e9}"], not: ["e"]),
        Case("]}", ["]}"], not: []),
        Case("\\Aa\\z", ["a"], not: ["ab"]),
    ])
    func languages(_ test: Case) throws {
        let pattern = try RegexPattern(test.pattern)
        var tables = RegexTables()
        let ways = [tables.add(pattern.automaton), tables.add(pattern.automaton, deterministic: false)]
        for way in ways {
            for text in test.matching { #expect(tables.matches(way, RegexSequenceInput(text.utf8)), "\(text)") }
            for text in test.others { #expect(!tables.matches(way, RegexSequenceInput(text.utf8)), "\(text)") }
        }
    }

    @Test(arguments: [
        ("(a", "a ( without its )"), ("a)", "a ) without its (, at character 2"), ("[a", "a [ without its ]"),
        ("*a", "nothing to repeat"), ("a**", "a repetition of a repetition, at character 3"),
        ("a{", "a { that begins no repetition; write \\{ for the character"),
        ("a{,2}", "a { that begins no repetition"), ("a{2,1}", "a repetition of at least 2 and at most 1"),
        ("a{1001}", "more than 1000 repetitions"), ("(a)\\1", "backreferences are not supported, at character 4"),
        ("(?=a)", "look-ahead is not supported"), ("(?<!a)b", "look-behind is not supported"),
        ("\\bword", "word boundaries are not supported"), ("\\pL", "Unicode classes are not supported"),
        ("\\q", "an unknown escape"), ("a\\", "a \\ at the end"),
        ("[z-a]", "a range of characters that does not ascend"),
        ("[[:what:]]", "an unknown class [:what:]"), ("[\u{e9}]", "a class may hold ASCII characters only"),
        ("(?m)a", "an unknown flag: known are i and s"), ("\\x4", "\\x needs two hexadecimal digits"),
        ("(a{1000}){1000}", "the pattern is too large"), ("(?P<a-b>c)", "not the name of a group"),
        (String(repeating: "(", count: 200), "more than 100 groups in each other"),
        (String(repeating: "a", count: 1025), "the pattern is too large"),
        ("((((a|)|)|){1000}){9}", "the pattern is too large"),
    ])
    func refusals(_ pattern: String, _ reason: String) {
        do throws(RegexError) {
            _ = try RegexPattern(pattern)
            Issue.record("\(pattern) was accepted")
        } catch {
            #expect(error.description.hasPrefix(reason), "\(error)")
        }
    }

    /// The patterns on which backtracking engines stand still.
    @Test(arguments: ["(a*)*b", "(a|a)*b", "(a|aa)+b", "a?{0,1}", "(.*)*(.*)*(.*)*x", "(a?){200}a{200}"])
    func nothingExplodes(_ text: String) throws {
        guard let pattern = try? RegexPattern(text) else { return }
        let clock = ContinuousClock()
        let input = [UInt8](repeating: UInt8(ascii: "a"), count: 20_000)
        let time = clock.measure { #expect(!pattern.matches(input)) }
        // Exponential time would not end at all; a debug build takes well under a second.
        #expect(time < .seconds(20))
    }

    /// Both ways of matching against a backtracking matcher that works on the tree it was generated from.
    @Test(arguments: 0..<4)
    func randomPatternsAgree(_ batch: UInt64) throws {
        var matches = 0
        for seed in batch * 400..<batch * 400 + 400 {
            var random = SplitMix64(seed: seed)
            let tree = NaiveRegex.random(&random, depth: 4)
            let text = tree.pattern
            guard let pattern = try? RegexPattern(text) else {
                Issue.record("\(text) was refused")
                continue
            }
            var tables = RegexTables()
            let ways = [tables.add(pattern.automaton), tables.add(pattern.automaton, deterministic: false)]
            for _ in 0..<60 {
                let input = random.list(atMost: 7) { $0.pick(Array("aabbc".utf8)) }
                let expected = tree.matches(input)
                if expected { matches += 1 }
                for way in ways {
                    let found = tables.matches(way, RegexSequenceInput(input))
                    #expect(found == expected, "\(text) on \(String(decoding: input, as: UTF8.self)), seed \(seed)")
                }
            }
        }
        #expect(matches > 1500, "only \(matches) of 24000 inputs matched")
    }
}
