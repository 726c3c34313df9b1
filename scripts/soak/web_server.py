# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 server whose every response can be checked: `web_server.py NAME ADDRESS PORT`. Says "ready".

    GET, HEAD /bytes/N?from=K    N bytes of the pattern, from its byte K; chunked if K is odd
    GET       /slow/N?from=K     the same, with a pause in the middle
    POST      /echo              the body, as it came
Each response names the server and repeats the request's X-Id. SIGTERM: no more connections; ends when all responses are
out. Only the standard library: this file runs inside a pod.
"""

import asyncio
import logging
import re
import signal
import sys

# No period below 64 KiB: a piece that is missing or repeated shows.
PATTERN = bytes((number * 2654435761 >> 13 ^ number >> 3) & 0xFF for number in range(65537)) * 18
PAUSE = 0.05


def pattern(first, count):
    first %= 65537
    return PATTERN[first:first + count]


class Server:
    def __init__(self, name):
        self._name = name
        self._busy = 0
        self._open = set()
        self.ending = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()

    async def serve(self, reader, writer):
        self._open.add(writer)
        try:
            while not self.ending.is_set():
                head = await reader.readuntil(b"\r\n\r\n")
                self._busy += 1
                self.idle.clear()
                try:
                    await self._answer(head, reader, writer)
                finally:
                    self._busy -= 1
                    if not self._busy:
                        self.idle.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side has ended the connection
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, head, reader, writer):
        line, *fields = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        fields = dict((name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields if field))
        body = await self._body(fields, reader)
        status = f"HTTP/1.1 200 OK\r\nX-Backend: {self._name}\r\nX-Id: {fields.get('x-id', '')}\r\n"
        place = re.fullmatch(r"/(bytes|slow)/(\d+)\?from=(\d+)", target)
        if place:
            kind, count, first = place[1], int(place[2]), int(place[3])
            body = pattern(first, count)
            if method == "HEAD":
                writer.write(f"{status}Content-Length: {count}\r\n\r\n".encode())
            elif first % 2 == 0:
                writer.write(f"{status}Content-Length: {count}\r\n\r\n".encode())
                if kind == "slow":
                    writer.write(body[:count // 2])
                    await asyncio.sleep(PAUSE)
                    body = body[count // 2:]
                writer.write(body)
            else:
                writer.write(f"{status}Transfer-Encoding: chunked\r\n\r\n".encode())
                for begin in range(0, count, 20_011):
                    piece = body[begin:begin + 20_011]
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    await asyncio.sleep(PAUSE if kind == "slow" and begin == 0 else 0)
                writer.write(b"0\r\n\r\n")
        elif target == "/echo":
            writer.write(f"{status}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        else:
            writer.write(f"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    @staticmethod
    async def _body(fields, reader):
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while (size := int((await reader.readline()).strip(), 16)):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readline()
            return body
        return await reader.readexactly(int(fields.get("content-length", 0)))

    async def close(self):
        """Ends the connections that are left when what was written on them is out."""
        writers = list(self._open)
        for writer in writers:
            writer.close()
        for writer in writers:
            try:
                await writer.wait_closed()
            except ConnectionError:
                pass  # the other side was faster


async def main(name, address, port):
    # That a client has gone is what the soak does on purpose.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    server = Server(name)
    listener = await asyncio.start_server(server.serve, address, int(port), backlog=1024, reuse_address=True,
                                          limit=1 << 20)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.ending.set)
    print("ready", flush=True)
    await server.ending.wait()
    listener.close()
    await server.idle.wait()
    await server.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
