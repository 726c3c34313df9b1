# SPDX-License-Identifier: Apache-2.0
"""The agent's pinned maps and programs, seen from outside it: a witness that does not depend on what it says."""

import ctypes
import mmap
import os
import socket
import struct
import threading
import time

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYS_BPF = 321  # x86-64
_BPF_MAP_LOOKUP, _BPF_MAP_UPDATE, _BPF_MAP_DELETE = 1, 2, 3
_BPF_OBJ_GET = 7
_BPF_PROG_TEST_RUN = 10


def _bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    status = _LIBC.syscall(_SYS_BPF, command, buffer, len(attributes))
    if status < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return status, buffer.raw


def open_pinned(path):
    """A descriptor of a pinned object; the caller closes it."""
    name = ctypes.create_string_buffer(str(path).encode())
    return _bpf(_BPF_OBJ_GET, struct.pack("=QII", ctypes.addressof(name), 0, 0))[0]


def pins(agent, kind):
    """The directory of pinned `maps`, `progs` or `links` of an agent."""
    versions = [entry for entry in agent.bpffs.iterdir() if entry.name.startswith("v")]
    assert len(versions) == 1, f"{agent.bpffs} has {versions}"
    return versions[0] / kind


class Map:
    """A pinned map: bytes to bytes. What the agent does not write yet, tests write by it."""

    def __init__(self, agent, name, value_size):
        self._descriptor = open_pinned(pins(agent, "maps") / name)
        self._value_size = value_size

    def _call(self, command, key, value=None):
        keys, values = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value or b"", self._value_size)
        # linux/bpf.h, union bpf_attr for BPF_MAP_*_ELEM: map_fd, key, value, flags; a deletion has no value
        pointer = 0 if value is None else ctypes.addressof(values)
        _bpf(command, struct.pack("=IIQQQ", self._descriptor, 0, ctypes.addressof(keys), pointer, 0))
        return values.raw

    def __getitem__(self, key):
        return self._call(_BPF_MAP_LOOKUP, key, bytes(self._value_size))

    def __setitem__(self, key, value):
        assert len(value) == self._value_size
        self._call(_BPF_MAP_UPDATE, key, value)

    def __delitem__(self, key):
        self._call(_BPF_MAP_DELETE, key)

    def close(self):
        os.close(self._descriptor)


class Generation:
    """The generation word, read from the memory that the kernel's programs read."""

    def __init__(self, agent):
        descriptor = open_pinned(pins(agent, "maps") / "mesh_control")
        self._memory = mmap.mmap(descriptor, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(descriptor)

    @property
    def value(self):
        return struct.unpack_from("=I", self._memory)[0]

    def watch_flip(self):
        """A thread that notes when the word changes; `join` it and read `.at` (CLOCK_MONOTONIC seconds)."""
        return _FlipWatch(self)

    def close(self):
        self._memory.close()


class Control:
    """Limits in struct mesh_control, in the memory that the programs read, so that a test can reach them: control[name].

    The agent writes them once, at its start.
    """

    _FIELDS = {"ends_quota": (36, "=I"), "udp_quota": (40, "=I"), "events_per_second": (44, "=I"), "udp_idle_ns": (48, "=Q"),
               "proxy_live": (56, "=I")}

    def __init__(self, agent):
        descriptor = open_pinned(pins(agent, "maps") / "mesh_control")
        self._memory = mmap.mmap(descriptor, mmap.PAGESIZE, mmap.MAP_SHARED)
        os.close(descriptor)

    def __getitem__(self, name):
        offset, form = self._FIELDS[name]
        return struct.unpack_from(form, self._memory, offset)[0]

    def __setitem__(self, name, value):
        offset, form = self._FIELDS[name]
        struct.pack_into(form, self._memory, offset, value)

    def close(self):
        self._memory.close()


class _FlipWatch(threading.Thread):
    def __init__(self, generation):
        super().__init__(daemon=True)
        self._generation = generation
        self._before = generation.value
        self.at = None
        self.start()

    def run(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self._generation.value != self._before:
                self.at = time.monotonic()
                return
            time.sleep(0.0001)


def test_run(program, packet, repeat=1):
    """BPF_PROG_TEST_RUN: (return value, output packet, average nanoseconds)."""
    source = ctypes.create_string_buffer(packet, len(packet))
    sink = ctypes.create_string_buffer(max(len(packet), 256))
    # linux/bpf.h, union bpf_attr.test: prog_fd, retval, data_size_in, data_size_out, data_in, data_out, repeat, duration
    attributes = struct.pack("=IIIIQQII", program, 0, len(packet), len(sink), ctypes.addressof(source),
                             ctypes.addressof(sink), repeat, 0) + bytes(40)
    _, answer = _bpf(_BPF_PROG_TEST_RUN, attributes)
    _, retval, _, size, _, _, _, duration = struct.unpack_from("=IIIIQQII", answer)
    return retval, sink.raw[:size], duration


class Verdicts:
    """The kernel's own verdict function over the live maps: program mesh_query, struct mesh_query of mesh_abi.h."""

    _ETHERNET = bytes(12) + b"\x08\x00"

    def __init__(self, agent):
        self._program = open_pinned(pins(agent, "progs") / "mesh_query")

    def packet(self, source, destination, port, netns=0, udp=False):
        """netns: cookie of the source's namespace, 0 for a source that is known by its address only."""
        question = struct.pack("=Q16s16sHBBI", netns, sixteen_bytes(source), sixteen_bytes(destination), port,
                               17 if udp else 6, 0, 0)
        return self._ETHERNET + question + bytes(32)

    def ask(self, packet):
        """(generation, allowed, reason number)."""
        _, answer, _ = test_run(self._program, packet)
        generation, _, _, _, _, verdict, reason, _, _, _ = struct.unpack_from("=IIIIIBBBBI", answer, 14 + 48)
        return generation, verdict == 1, reason

    def nanoseconds(self, packet, repeat):
        return test_run(self._program, packet, repeat)[2]

    def close(self):
        os.close(self._program)


def sixteen_bytes(address):
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address)
    return bytes(10) + b"\xff\xff" + socket.inet_aton(address)
