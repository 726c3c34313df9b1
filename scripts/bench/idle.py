# SPDX-License-Identifier: Apache-2.0
"""Opens kept connections that are idle after one request each: `idle.py ADDRESS PORT PATH COUNT [h1|h2]`. Says "ready",
and closes them at the end of its input. Only the standard library: this file runs inside a pod."""

import resource
import socket
import sys

DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
ACK, END_STREAM, END_HEADERS = 1, 1, 4


def connection(address, port, request):
    opened = socket.create_connection((address, port), timeout=10)
    opened.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < length_of(answer):
        received = opened.recv(65536)
        if not received:
            sys.exit(f"the connection was closed after {answer[:200]!r}")
        answer += received
    if not answer.startswith(b"HTTP/1.1 200"):
        sys.exit(f"unexpected answer {answer[:200]!r}")
    return opened


def session(address, port, path):
    """A connection of HTTP/2 by prior knowledge, after one request (RFC 9113 section 3.4, RFC 7541 section 6)."""
    opened = socket.create_connection((address, port), timeout=10)
    # GET and http are in the static table; path and authority are literals that no table keeps.
    block = b"\x82\x86" + b"".join(bytes([index, len(text)]) + text for index, text in (
        (0x04, path.encode()), (0x01, address.encode())))
    opened.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b"")
                   + frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    with opened.makefile("rb") as frames:
        while True:
            head = frames.read(9)
            if len(head) < 9:
                sys.exit("the connection was closed before an answer")
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            frames.read(length)
            if kind in (RST_STREAM, GOAWAY):
                sys.exit(f"unexpected frame of type {kind}")
            if kind == SETTINGS and not flags & ACK:
                opened.sendall(frame(SETTINGS, ACK, 0, b""))
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return opened


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def length_of(answer):
    for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":")[1])
    sys.exit(f"no Content-Length in {answer[:200]!r}")


def main():
    address, port, path, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    version = sys.argv[5] if len(sys.argv) > 5 else "h1"
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, count + 64), most))
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    kept = [session(address, port, path) if version == "h2" else connection(address, port, request)
            for _ in range(count)]
    print("ready", flush=True)
    sys.stdin.read()
    for each in kept:
        each.close()


if __name__ == "__main__":
    main()
