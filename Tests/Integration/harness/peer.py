# SPDX-License-Identifier: Apache-2.0
"""A process inside a pod that does what a test says, one system call at a time.

Reads one JSON command a line from standard input and answers each with one line:
{"id": 1, "value": ..., "seconds": ...} or {"id": 1, "errno": 111, "message": ...}.
A command with "thread": true runs on a thread of its own, so that it may block; its "tid" is announced first.
Bytes are {"b": latin-1 text}, sockets {"s": number}. Only the standard library: this file runs as it is.
"""

import array
import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import termios
import threading
import time
import zlib

_LIBC = ctypes.CDLL(None, use_errno=True)
_PERIOD = 131_071  # prime, like meshload's: whatever is lost or reordered does not line up with it


def _pattern():
    state, out = 0x5EED, bytearray()
    while len(out) < _PERIOD:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out += state.to_bytes(8, "little")[4:]
    return bytes(out[:_PERIOD]) * 3


PATTERN = _pattern()


def stretch(position, count):
    """Bytes of the test stream from a position on; at most two periods."""
    start = position % _PERIOD
    return PATTERN[start:start + count]


class Peer:
    def __init__(self):
        self._sockets = {}
        self._output = threading.Lock()
        self._state = threading.Lock()
        self._next = 0
        self._held = []
        self._buffer = []

    def answer(self, message):
        with self._output:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    def serve(self):
        for line in sys.stdin:
            command = json.loads(line)
            if command.pop("thread", False):
                threading.Thread(target=self._threaded, args=(command,), daemon=True).start()
            else:
                self._execute(command)

    def _threaded(self, command):
        self.answer({"id": command["id"], "tid": threading.get_native_id()})
        self._execute(command)

    def _execute(self, command):
        number, name = command["id"], command["do"]
        arguments = [self._decode(value) for value in command["args"]]
        try:
            function = getattr(self, "do_" + name)
            started = time.perf_counter()
            try:
                value = function(*arguments)
            finally:
                seconds = time.perf_counter() - started
            self.answer({"id": number, "value": self._encode(value), "seconds": seconds})
        except OSError as error:
            self.answer({"id": number, "errno": error.errno, "message": str(error), "seconds": seconds})
        except Exception as error:  # a mistake of the test: reported there, not here
            self.answer({"id": number, "errno": None, "message": f"{type(error).__name__}: {error}"})

    def _decode(self, value):
        if isinstance(value, dict):
            return value["b"].encode("latin-1") if "b" in value else self._sockets[value["s"]]
        if isinstance(value, list):  # addresses; iovecs and ancillary data are lists of these
            return tuple(self._decode(item) for item in value)
        return value

    def _encode(self, value):
        if isinstance(value, (bytes, bytearray)):
            return {"b": value.decode("latin-1")}
        if isinstance(value, socket.socket):
            with self._state:
                self._next += 1
                self._sockets[self._next] = value
                return {"s": self._next}
        if isinstance(value, (tuple, list)):
            return [self._encode(item) for item in value]
        return value

    # Everything a test can ask for.

    def do_socket(self, family, kind, protocol=0):
        return socket.socket(family, kind, protocol)

    def do_call(self, target, method, *arguments):
        return getattr(target, method)(*arguments)

    def do_connect(self, target, address):
        """One connect(2) with its own error; socket.connect would raise InterruptedError and so on the same way."""
        status = target.connect_ex(address)
        if status:
            raise OSError(status, os.strerror(status))

    def do_store(self, target, path, key):
        """Puts a socket into a pinned map: under `key` in a sockhash; with no key, `target` is [socket, its value]."""
        descriptor = self._bpf(7, struct.pack("=QII", self._address(path.encode() + b"\0"), 0, 0))
        try:
            if key is None:
                target, value = target
                key = struct.pack("=i", target.fileno())
            else:
                value = struct.pack("=Q", target.fileno())
            self._bpf(2, struct.pack("=IIQQQ", descriptor, 0, self._address(key), self._address(value), 0))
        finally:
            os.close(descriptor)

    def _address(self, data):
        self._buffer.append(ctypes.create_string_buffer(data, len(data)))
        return ctypes.addressof(self._buffer[-1])

    def _bpf(self, command, attributes):
        """bpf(2) on x86-64; the buffers that `attributes` points to are given up after it."""
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        status = _LIBC.syscall(321, command, buffer, len(attributes))
        self._buffer.clear()
        if status < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return status

    def do_disconnect(self, target):
        """connect(2) to AF_UNSPEC."""
        unspecified = ctypes.create_string_buffer(16)
        if _LIBC.connect(target.fileno(), unspecified, len(unspecified)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def do_pump(self, one, other):
        """Copies what `one` receives to `other`, until it ends; then ends that direction. The number of bytes."""
        done = 0
        while True:
            try:
                data = one.recv(65536)
            except BlockingIOError:
                continue  # a redirected socket may wake without data
            if not data:
                other.shutdown(socket.SHUT_WR)
                return done
            other.sendall(data)
            done += len(data)

    def do_fionread(self, target):
        queued = array.array("i", [0])
        fcntl.ioctl(target, termios.FIONREAD, queued)
        return queued[0]

    def do_poll(self, target, events, milliseconds):
        """Events that are ready; 0 after the time."""
        poll = select.poll()
        poll.register(target, events)
        ready = poll.poll(milliseconds)
        return ready[0][1] if ready else 0

    def do_splice_from(self, target, count, flags):
        """splice(2) from a socket into a pipe; the bytes that moved."""
        reader, writer = os.pipe()
        try:
            moved = _LIBC.splice(target.fileno(), None, writer, None, count, flags)
            if moved < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            return os.read(reader, moved) if moved else b""
        finally:
            os.close(reader)
            os.close(writer)

    def do_splice_to(self, target, data):
        reader, writer = os.pipe()
        try:
            os.write(writer, data)
            moved = _LIBC.splice(reader, None, target.fileno(), None, len(data), 0)
            if moved < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            return moved
        finally:
            os.close(reader)
            os.close(writer)

    def do_sendfile(self, target, data):
        descriptor = os.memfd_create("peer")
        try:
            os.write(descriptor, data)
            return os.sendfile(target.fileno(), descriptor, 0, len(data))
        finally:
            os.close(descriptor)

    def do_pour(self, target, position, count, chunk, flags=0):
        """Sends the test stream from `position`; stops early at EAGAIN. Returns how many bytes went."""
        done = 0
        while done < count:
            try:
                done += target.send(stretch(position + done, min(chunk, count - done)), flags)
            except BlockingIOError:
                break
        return done

    def do_drain(self, target, position, count, chunk, flags=0):
        """Receives and compares the test stream. Returns [bytes received, first wrong position or null]."""
        done = 0
        while done < count:
            try:
                data = target.recv(min(chunk, count - done), flags)
            except BlockingIOError:
                if flags & socket.MSG_DONTWAIT:
                    break
                continue  # a blocking socket may wake without data on a redirected connection
            if not data:
                break
            expected = stretch(position + done, len(data))
            if data != expected:
                wrong = next(i for i, (a, b) in enumerate(zip(data, expected)) if a != b)
                return [done, position + done + wrong]
            done += len(data)
        return [done, None]

    def do_pour_to_end(self, target, count, chunk):
        """Sends `count` bytes and the end of the stream right behind them."""
        self.do_pour(target, 0, count, chunk)
        target.shutdown(socket.SHUT_WR)

    def do_read_to_end(self, target):
        """Reads, with some work on what comes, to the end. Returns [bytes, seconds of the longest wait among them, seconds
        from the last of them to the end]."""
        buffer, count, longest, last = bytearray(65536), 0, 0, None
        while True:
            try:
                received = target.recv_into(buffer)
            except BlockingIOError:
                continue  # a blocking socket may wake without data on a redirected connection
            now = time.monotonic()
            if not received:
                return [count, longest, now - last]
            if last:
                longest = max(longest, now - last)
            zlib.crc32(buffer)
            count, last = count + received, time.monotonic()

    def do_connect_many(self, family, address, count, payload):
        """Connects, sends the payload a byte at a time, closes; `count` times. Returns what failed."""
        failures = []
        for number in range(count):
            with socket.socket(family, socket.SOCK_STREAM) as one:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    one.connect(address)
                    for byte in payload:
                        one.send(bytes([byte]))
                except OSError as error:
                    failures.append([number, error.errno])
        return failures

    def do_accept_many(self, listener, count, payload):
        """Accepts `count` connections and reads each to its end. Returns the streams that are not the payload."""
        wrong = []
        for _ in range(count):
            one, _ = listener.accept()
            with one:
                got = b""
                while True:
                    try:
                        data = one.recv(4096)
                    except BlockingIOError:
                        continue
                    if not data:
                        break
                    got += data
            if got != payload:
                wrong.append(got)
        return wrong

    def do_attempts(self, family, kind, address, count, send=False):
        """connect(2), or sendto(2) of a datagram, on `count` new sockets. Returns [errno or 0, seconds] of each."""
        outcomes = []
        for _ in range(count):
            with socket.socket(family, kind) as one:
                started = time.perf_counter()
                try:
                    if send:
                        one.sendto(b"datagram", address)
                        status = 0
                    else:
                        status = one.connect_ex(address)
                except OSError as error:
                    status = error.errno
                outcomes.append([status, time.perf_counter() - started])
        return outcomes

    def do_hold(self, family, address, count):
        """Connects up to `count` times and keeps the sockets. Returns [connected, errno that stopped it or 0]."""
        for number in range(count):
            one = socket.socket(family, socket.SOCK_STREAM)
            status = one.connect_ex(address)
            if status:
                one.close()
                return [number, status]
            self._held.append(one)
        return [count, 0]

    def do_release(self):
        """Closes what `hold` keeps."""
        while self._held:
            self._held.pop().close()

    def do_accept_all(self, listener):
        """Accepts and closes whatever comes, for as long as this process lives."""
        while True:
            listener.accept()[0].close()

    def do_send_to_ports(self, target, host, first, count):
        """A datagram to each of `count` ports. Returns how many were sent."""
        sent = 0
        for port in range(first, first + count):
            try:
                target.sendto(b"x", (host, port))
                sent += 1
            except ConnectionRefusedError:
                pass  # of an earlier one
        return sent

    def do_signal_thread(self, tid):
        """SIGUSR1, with a handler and SA_RESTART, to one thread."""
        _LIBC.tgkill(os.getpid(), tid, signal.SIGUSR1)

    def do_clock(self):
        return time.monotonic()

    def do_limit_descriptors(self, count):
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    def do_exit(self):
        os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.siginterrupt(signal.SIGUSR1, False)
    Peer().serve()
