// SPDX-License-Identifier: Apache-2.0

// Confines itself as a proxy does, then tries one thing that a proxy must not be able to do, or must.
// Exit status: 0 if it worked, else the errno; a signal if the kernel killed it.

import Glibc
import LinuxIO
import ProxyProcess

/// A body that is refused with a ``SystemError`` ends with its errno.
func attempt(_ body: () throws(SystemError) -> Void) -> CInt {
    do throws(SystemError) {
        try body()
        return 0
    } catch {
        return error.errnoCode
    }
}

func status(_ result: CInt) -> CInt { result == -1 ? errno : 0 }

/// Memory that can be executed, if the kernel gives it.
func map(_ protection: CInt) -> CInt {
    let memory = mmap(nil, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    return memory == MAP_FAILED ? errno : 0
}

var serving: Serving?

func spawn() -> CInt {
    var pid: pid_t = 0
    let arguments: [UnsafeMutablePointer<CChar>?] = [strdup("true"), nil]
    return posix_spawn(&pid, "/bin/true", nil, nil, arguments, nil)
}

let tries: [String: () -> CInt] = [
    "nothing": { 0 },
    "unix-socket": { status(socket(AF_UNIX, CInt(SOCK_SEQPACKET.rawValue), 0)) },
    "inet-socket": { status(socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)) },
    "packet-socket": { status(socket(AF_PACKET, CInt(SOCK_RAW.rawValue), 0)) },
    "open": { status(open("/etc/passwd", O_RDONLY)) },
    "memory": { map(PROT_READ | PROT_WRITE) },
    "executable-memory": { map(PROT_READ | PROT_EXEC) },
    "spawn": spawn,
    "setuid": { status(setuid(0)) },
    "execute": { PodEntry.execute(["/bin/true"]).errnoCode },
    "chroot": { status(chroot("/")) },
    "namespace": { attempt { () throws(SystemError) in _ = try NetworkNamespace.makeNew().rawDescriptor } },
    "mount": { attempt { () throws(SystemError) in try PodEntry.mountFiles(ofNamespace: "none") } },
    "thread": runThread,
    "serve": { serving?.run() ?? EINVAL },
    "loop": { attempt { () throws(SystemError) in try EventLoop().turn(waitingAtMost: .milliseconds(1)) } },
]

guard CommandLine.arguments.count == 2, let body = tries[CommandLine.arguments[1]] else {
    print("usage: confined-probe \(tries.keys.sorted().joined(separator: " | "))")
    exit(255)
}
do {
    // Sockets come from others; here from before.
    if CommandLine.arguments[1] == "serve" { serving = try Serving() }
    try ProxyConfinement(account: geteuid() == 0 ? .usual : nil).apply(keeping: serving?.descriptors ?? [])
} catch {
    let line = Array("\(error)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
    exit(254)
}
exit(body())
