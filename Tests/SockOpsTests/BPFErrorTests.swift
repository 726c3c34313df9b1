// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxIO
import Testing

@testable import SockOps

@Suite struct BPFErrorTests {
    @Test(arguments: [
        (
            BPFError(.attach, "mesh_connect4 to /x", errnoCode: -EBUSY),
            "attach mesh_connect4 to /x: Device or resource busy"
        ),
        (
            BPFError(.load, "object o", errnoCode: EPERM),
            "load object o: Operation not permitted (needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: run as root)"
        ),
        (
            BPFError(.reuse, "map m", errnoCode: EINVAL, detail: "it has value size 8, not 16"),
            "reuse map m: Invalid argument (it has value size 8, not 16)"
        ),
        (BPFError(.iterate, "map m", errnoCode: 524), "iterate over map m: not supported by this kernel (ENOTSUPP)"),
        (
            BPFError(.load, "object o", errnoCode: EINVAL, log: ["first", "last"]),
            "load object o: Invalid argument (the kernel's verifier refused it; see `meshctl check`)\n  first\n  last"
        ),
        (BPFError(.find, "map m", errnoCode: 4000), "find map m: Something wrong in libelf"),
        (
            BPFError(SystemError("setns(CLONE_NEWNET)", "/run/netns/a", errnoCode: EPERM, hint: "run as root")),
            "setns(CLONE_NEWNET) /run/netns/a: Operation not permitted (run as root)"
        ),
    ])
    func aMessageSaysOperationSubjectCauseAndRemedy(error: BPFError, text: String) {
        #expect(error.description == text)
    }

    @Test func shapesTellWhatDiffers() {
        let shape = MapShape(type: 1, keySize: 4, valueSize: 8, maxEntries: 10, flags: 0)
        let other = MapShape(type: 1, keySize: 4, valueSize: 16, maxEntries: 20, flags: 0)
        #expect(shape.difference(from: shape) == nil)
        #expect(shape.difference(from: other) == "value size 8, not 16, entries 10, not 20")
    }
}
