# SPDX-License-Identifier: Apache-2.0
"""Opens kept HTTP/1.1 connections that are idle after one request each: `idle.py ADDRESS PORT PATH COUNT`. Says "ready",
and closes them at the end of its input. Only the standard library: this file runs inside a pod."""

import resource
import socket
import sys


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


def length_of(answer):
    for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":")[1])
    sys.exit(f"no Content-Length in {answer[:200]!r}")


def main():
    address, port, path, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, count + 64), most))
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    kept = [connection(address, port, request) for _ in range(count)]
    print("ready", flush=True)
    sys.stdin.read()
    for each in kept:
        each.close()


if __name__ == "__main__":
    main()
