// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Measures and verifies TCP and UNIX stream sockets. One JSON object on standard output.
@main
struct Main {
    static let usage = """
        usage: meshload MODE --address ADDRESS [options]

        ADDRESS is an IPv4 or IPv6 address, or unix:/path. A server uses four successive ports
        (paths), a client is told the first. Sizes take the suffixes K, M and G (powers of 1024).

        modes of measurement (all: --port 5000 --cpu N)
          server                                        answers rr, stream and crr
          rr      --request 64 --response 64            request and response, closed loop
                  --connections 1 --seconds 1 --warm-up 0.1
          stream  --write-size 64K --read-size 256K     one-way stream, verified by the server
                  --connections 1 --no-delay --window 0 --seconds 1
          crr     --request 64 --response 64            connect, request, response, close
                  --seconds 1 --warm-up 0.1

          http    --rate 1000 --body 61 --path /        GET at a fixed rate over kept connections, open loop: latency
                  --connections 64 --seconds 1          counts from when a request was due; --body: bytes of each
                  --warm-up 0.1                         response's body

        modes of the soak test (all: --port 5100)
          mix-server --hang-seconds 30                  the passive side, for one client at a time
          mix     --bytes 1G --connections 32 --seed 1  random sizes, directions and options, byte-exact;
                  --seconds 3600 --hang-seconds 30      stops at whichever of bytes and seconds comes first
                  --largest 16M                         most bytes of one direction of a connection
                  --only A,B --without C                behaviours: of order (concurrent, pingpong, …), listener
                                                        (deferred, fastopen, …), sender and receiver (peek, …)

        exit status: 0 done · 1 refused, or the system failed · 2 a byte was wrong, lost or repeated · 3 a hang
        """

    static func main() {
        signal(SIGPIPE, SIG_IGN)
        let arguments = CommandLine.arguments.dropFirst()
        guard let mode = arguments.first, mode != "--help", mode != "-h" else {
            print(usage)
            exit(arguments.isEmpty ? 1 : 0)
        }
        do {
            var options = try Options(arguments.dropFirst())
            try run(mode, &options)
        } catch {
            complain("\(error)")
            exit(1)
        }
    }

    private static func run(_ mode: String, _ options: inout Options) throws(LoadError) {
        if options.string("cpu") != nil { try Clock.pin(toCPU: options.integer("cpu", default: 0)) }
        let address = try options.required("address")
        let port = try options.integer("port", default: mode.hasPrefix("mix") ? 5100 : 5000)
        switch mode {
        case "server":
            try options.finish()
            try Server(address: address, port: port).run()
        case "rr":
            let load = RequestResponse(
                server: address, port: port,
                request: try options.integer("request", default: 64),
                response: try options.integer("response", default: 64),
                connections: max(1, try options.integer("connections", default: 1)),
                seconds: try options.seconds("seconds", default: 1),
                warmUp: try options.seconds("warm-up", default: 0.1))
            try options.finish()
            guard load.request > 0, load.response > 0 else {
                throw LoadError("--request and --response are 1 byte or more")
            }
            print(try load.run())
        case "stream":
            let load = Stream(
                server: address, port: port,
                writeSize: try options.integer("write-size", default: 64 << 10),
                readSize: try options.integer("read-size", default: 256 << 10),
                connections: max(1, try options.integer("connections", default: 1)),
                noDelay: options.flag("no-delay"),
                window: try options.integer("window", default: 0),
                seconds: try options.seconds("seconds", default: 1))
            try options.finish()
            print(try load.run())
        case "crr":
            let load = OneShot(
                server: address, port: port,
                request: try options.integer("request", default: 64),
                response: try options.integer("response", default: 64),
                seconds: try options.seconds("seconds", default: 1),
                warmUp: try options.seconds("warm-up", default: 0.1))
            try options.finish()
            print(try load.run())
        case "http":
            let load = HTTPRate(
                server: address, port: port, path: options.string("path") ?? "/",
                rate: try options.seconds("rate", default: 1000),
                connections: max(1, try options.integer("connections", default: 64)),
                body: try options.integer("body", default: 61),
                seconds: try options.seconds("seconds", default: 1),
                warmUp: try options.seconds("warm-up", default: 0.1))
            try options.finish()
            print(try load.run())
        case "mix-server":
            let server = MixServer(
                address: address, port: port, hangSeconds: try options.integer("hang-seconds", default: 30))
            try options.finish()
            try server.run()
        case "mix":
            let client = MixClient(
                address: address, port: port,
                bytes: UInt64(try options.integer("bytes", default: 1 << 30)),
                largest: max(1, try options.integer("largest", default: 16 << 20)),
                connections: max(1, try options.integer("connections", default: 32)),
                seed: UInt64(try options.integer("seed", default: 1)),
                seconds: try options.seconds("seconds", default: 3600),
                hangSeconds: try options.integer("hang-seconds", default: 30),
                allowed: try Behaviours(only: options.string("only"), without: options.string("without")))
            try options.finish()
            print(try client.run())
        default:
            throw LoadError("unknown mode '\(mode)'; see meshload --help")
        }
    }
}
