// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import MeshModel

@Suite struct NumberRegistryTests {
    @Test func numbersStay() {
        var registry = NumberRegistry()
        let a = registry.number(for: "a")
        #expect(a == 256)
        #expect(registry.number(for: "b") == 257)
        #expect(registry.number(for: "a") == a)
        registry.release("a")
        registry.endGeneration()
        #expect(registry.number(for: "a") == a, "it came back while its number was remembered")
    }

    @Test func restoredNumbersStay() {
        var registry = NumberRegistry()
        for key in ["a", "b", "c"] { _ = registry.number(for: key) }
        registry.release("b")
        var restored = NumberRegistry(entries: registry.entries, nextNumber: registry.nextNumber)
        #expect(restored.number(for: "c") == 258)
        #expect(restored.number(for: "b") == 257)
        #expect(restored.number(for: "new") == 259)
    }

    @Test func badEntriesAreLeftOut() {
        var registry = NumberRegistry(
            entries: [
                .init(key: "a", number: 300), .init(key: "b", number: 300), .init(key: "a", number: 301),
                .init(key: "host", number: 2),
            ], nextNumber: 0)
        #expect(registry.entries == [.init(key: "a", number: 300)])
        #expect(registry.number(for: "x") == 256)
    }

    @Test func aFreedNumberRestsForAGeneration() {
        var registry = NumberRegistry(first: 1, limit: 3)
        let numbers = ["a", "b", "c"].map { registry.number(for: $0) }
        #expect(numbers == [1, 2, 3])
        #expect(registry.number(for: "d") == nil, "all are taken")
        registry.release("b")
        #expect(registry.number(for: "d") == nil, "freed in this generation")
        registry.endGeneration()
        #expect(registry.number(for: "d") == nil, "used by the generation before")
        registry.endGeneration()
        #expect(registry.number(for: "d") == 2)
        #expect(registry.number(for: "b") == nil)
    }

    @Test func numbersComeRoundLast() {
        var registry = NumberRegistry(first: 1, limit: 8)
        var seen: [UInt32] = []
        for index in 0..<16 {
            registry.number(for: "\(index)").map { seen.append($0) }
            registry.release("\(index)")
            registry.endGeneration()
            registry.endGeneration()
        }
        #expect(seen == [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8])
    }

    @Test func memoryIsBounded() {
        var registry = NumberRegistry()
        for index in 0..<20_000 {
            _ = registry.number(for: "\(index)")
            registry.release("\(index)")
            registry.endGeneration()
        }
        #expect(registry.entries.count <= 8193)
    }
}
