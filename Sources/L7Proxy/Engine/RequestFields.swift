// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// The fields of a request as the router reads them, and as policies do: then with what the rule and its backend drop
/// and add, since a pod's policy is about what the pod receives.
struct RequestFields: RouteHeaderFields {
    let fields: UnsafeBufferPointer<Field>
    let message: UnsafeRawPointer
    var rule = HeaderPlan()
    var backend = HeaderPlan()

    func nextValue(of name: UnsafeRawBufferPointer, after cursor: inout Int) -> UnsafeRawBufferPointer? {
        while cursor < fields.count {
            let field = fields[cursor]
            cursor += 1
            if Int(field.nameLength) == name.count, !field.isDropped,
                field.nameRange.bytes(in: message).equalsIgnoringCase(name)
            {
                if rule.drops(name) || backend.drops(name) { continue }
                return field.valueRange.bytes(in: message)
            }
        }
        while cursor < fields.count + rule.added.count {
            let line = rule.added[cursor - fields.count]
            cursor += 1
            if line.name.equalsIgnoringCase(name), !backend.drops(name) { return line.value }
        }
        while cursor < fields.count + rule.added.count + backend.added.count {
            let line = backend.added[cursor - fields.count - rule.added.count]
            cursor += 1
            if line.name.equalsIgnoringCase(name) { return line.value }
        }
        return nil
    }
}
