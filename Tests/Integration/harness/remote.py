# SPDX-License-Identifier: Apache-2.0
"""The test's side of peer.py: processes in pods, and their sockets, as objects."""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

from .processes import PATIENCE, spawn, stop

_PEER = Path(__file__).with_name("peer.py")
# System calls that wait for the network; a thread that sleeps in one of them is blocked as a test means it (x86-64).
_WAITS = {7, 40, 44, 45, 46, 47, 20, 43, 42, 232, 271, 275, 281}


class PeerFailed(Exception):
    """The peer could not do what the test asked for: a mistake of the test, or the peer's end."""


class Pending:
    """A command that was given and perhaps not done yet."""

    def __init__(self, peer, what):
        self._peer = peer
        self._what = what
        self._started = threading.Event()
        self._finished = threading.Event()
        self._answer = None
        self.seconds = None
        self.tid = None

    def deliver(self, message):
        """Called by the reader of the peer's output."""
        if "value" in message or "errno" in message:
            self._answer = message
            self.seconds = message.get("seconds")
            self._finished.set()
        else:
            self.tid = message["tid"]
        self._started.set()

    def wait_blocked(self, timeout=PATIENCE):
        """Waits until the thread sleeps in a system call of the network. Returns self."""
        self._started.wait(timeout)
        task = Path(f"/proc/{self._peer.pid}/task/{self.tid}")
        deadline = time.monotonic() + timeout
        calm = 0
        while time.monotonic() < deadline:
            if self._finished.is_set():
                raise PeerFailed(f"{self._what} did not block: {self._answer}")
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            call = (task / "syscall").read_text().split()[0]
            calm = calm + 1 if state == "S" and call.isdigit() and int(call) in _WAITS else 0
            if calm == 3:
                return self
            time.sleep(0.001)
        raise PeerFailed(f"{self._what} neither blocked nor ended in {timeout} s")

    def done(self, wait=0.0):
        """Whether the answer is there after at most `wait` seconds."""
        return self._finished.wait(wait)

    def result(self, timeout=PATIENCE):
        """The command's value; raises the OSError that the peer met, TimeoutError if there is no answer."""
        if not self.done(timeout):
            raise TimeoutError(f"{self._what}: no answer after {timeout} s")
        if "errno" in self._answer:
            if self._answer["errno"] is None:
                raise PeerFailed(f"{self._what}: {self._answer['message']}")
            raise OSError(self._answer["errno"], self._answer["message"])
        return self._peer.decode(self._answer["value"])


class RemoteSocket:
    """A socket of a peer. Methods of socket.socket are forwarded; `later` gives them a thread of their own."""

    def __init__(self, peer, number):
        self.peer = peer
        self.number = number

    def __getattr__(self, method):
        if method.startswith("_"):
            raise AttributeError(method)
        return lambda *arguments: self.peer.do("call", self, method, *arguments)

    def connect(self, address):
        return self.peer.do("connect", self, address)

    def later(self, method, *arguments):
        """Starts a call that may block; a Pending."""
        return self.peer.start("call", self, method, *arguments)

    def fionread(self):
        return self.peer.do("fionread", self)

    def poll(self, events, milliseconds=0):
        return self.peer.do("poll", self, events, milliseconds)

    def pour(self, count, position=0, chunk=65536, flags=0):
        return self.peer.do("pour", self, position, count, chunk, flags)

    def drain(self, count, position=0, chunk=65536, flags=0):
        """Asserts that the next bytes are the test stream; how many came."""
        received, wrong = self.peer.do("drain", self, position, count, chunk, flags)
        assert wrong is None, f"byte {wrong} of the stream is wrong"
        return received

    def start_pour(self, count, position=0, chunk=65536):
        return self.peer.start("pour", self, position, count, chunk, 0)

    def start_drain(self, count, position=0, chunk=65536):
        return self.peer.start("drain", self, position, count, chunk, 0)


class Peer:
    """A process of peer.py, started by `argv` (which puts it into a pod)."""

    def __init__(self, argv, name):
        self.name = name
        self._process = spawn(*argv, "/usr/bin/python3", _PEER, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True)
        self._pending = {}
        self._lock = threading.Lock()
        self._number = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.do("clock")  # started, or it says why not
        self.pid = self._find_pid()

    def do(self, name, *arguments, timeout=PATIENCE):
        """A command that ends at once; its value."""
        return self._give(name, arguments, thread=False).result(timeout)

    def timed(self, name, *arguments):
        """Like `do`, with the seconds that the command took in the pod: (value or OSError, seconds)."""
        pending = self._give(name, arguments, thread=False)
        try:
            return pending.result(), pending.seconds
        except OSError as error:
            return error, pending.seconds

    def start(self, name, *arguments):
        """A command on a thread of its own, a Pending."""
        return self._give(name, arguments, thread=True)

    def socket(self, family, kind, protocol=0):
        return self.do("socket", int(family), int(kind), protocol)

    def signal(self, pending):
        """Sends SIGUSR1 to the thread of a pending command."""
        self.do("signal_thread", pending.tid)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def close(self):
        stop(self._process, grace=0.2)

    def decode(self, value):
        if isinstance(value, dict):
            return value["b"].encode("latin-1") if "b" in value else RemoteSocket(self, value["s"])
        return [self.decode(item) for item in value] if isinstance(value, list) else value

    def _encode(self, value):
        if isinstance(value, (bytes, bytearray)):
            return {"b": bytes(value).decode("latin-1")}
        if isinstance(value, RemoteSocket):
            assert value.peer is self, f"a socket of {value.peer.name} was given to {self.name}"
            return {"s": value.number}
        return [self._encode(item) for item in value] if isinstance(value, (list, tuple)) else value

    def _give(self, name, arguments, thread):
        with self._lock:
            self._number += 1
            pending = Pending(self, f"{self.name}: {name}{arguments}"[:200])
            self._pending[self._number] = pending
            message = {"id": self._number, "do": name, "args": [self._encode(item) for item in arguments]}
            if thread:
                message["thread"] = True
            try:
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                raise PeerFailed(f"{self.name} has ended") from None
        return pending

    def _read(self):
        for line in self._process.stdout:
            message = json.loads(line)
            pending = self._pending[message["id"]]
            if "value" in message or "errno" in message:
                del self._pending[message["id"]]
            pending.deliver(message)
        for pending in list(self._pending.values()):
            pending.deliver({"errno": None, "message": "the peer has ended"})

    def _find_pid(self):
        """The interpreter itself: what starts it may replace itself by it or stay its parent."""
        pid = self._process.pid
        while not os.path.realpath(f"/proc/{pid}/exe").rpartition("/")[2].startswith("python"):
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return pid
