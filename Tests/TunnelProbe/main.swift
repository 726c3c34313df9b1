// SPDX-License-Identifier: Apache-2.0

// A worker of tunnels on loopback, as a process of its own: commands are lines of JSON on standard input, what happens
// is told in lines of JSON on standard output. Ends with its input.

import Foundation

let probe = TunnelProbe()
while let line = readLine() {
    do {
        let command = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        try probe.perform(command ?? [:])
    } catch {
        TunnelProbe.tell(["event": "error", "text": String(describing: error)])
    }
}
