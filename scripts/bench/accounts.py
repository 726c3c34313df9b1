# SPDX-License-Identifier: Apache-2.0
"""What processes have used of the machine: processor time by the scheduler's own clock, memory, allocations."""

import ctypes
import os
import re
import struct
import subprocess
from pathlib import Path

from harness.processes import run

# Kernel threads that carry packets or redirected bytes for others.
_CARRIERS = re.compile(r"ksoftirqd|kworker")


def threads(pid):
    try:
        return [int(entry) for entry in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []


def used(pids):
    """Seconds on a processor of all threads of the processes so far. Soft interrupts that ran while one of them did are
    in it, since this kernel does not account for them apart."""
    nanoseconds = 0
    for pid in pids:
        for thread in threads(pid):
            try:
                nanoseconds += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended; none of a proxy does while it is measured
    return nanoseconds / 1e9


def carriers():
    """Seconds of each kernel thread that carries bytes, by its number."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if _CARRIERS.match(Path(f"/proc/{entry}/comm").read_text()):
                    found[entry] = used([entry])
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def growth(before, after):
    return sum(value - before.get(key, 0) for key, value in after.items())


def finish(process):
    """Waits for a process of `subprocess`; (what it wrote, seconds of processor time that it has used)."""
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(process.args)}: exit code {process.returncode}\n{output}")
    return output, usage.ru_utime + usage.ru_stime


def resident(pids):
    """Bytes of memory that the processes have to themselves or share fairly: proportional set size."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) << 10
    return total


class Allocations:
    """Counts calls of the C library's allocator by a process: a probe of the kernel on each function, in each thread.

    Nothing is loaded into the process, so what is counted is what is measured elsewhere. A process that brings an
    allocator of its own cannot be counted."""

    FUNCTIONS = ("malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "memalign")
    _PERF_EVENT_OPEN = 298
    _SIZE = 112  # PERF_ATTR_SIZE_VER5

    def __init__(self, pid):
        self._descriptors = []
        library = self._library(pid)
        self._path = ctypes.create_string_buffer(library.encode())
        kind = int(Path("/sys/bus/event_source/devices/uprobe/type").read_text())
        try:
            for offset in self._offsets(library):
                # struct perf_event_attr: type, size, config, …, config1 = path, config2 = offset (perf_event_open(2)).
                attributes = bytearray(self._SIZE)
                struct.pack_into("=II", attributes, 0, kind, self._SIZE)
                struct.pack_into("=QQ", attributes, 56, ctypes.addressof(self._path), offset)
                for thread in threads(pid):
                    self._descriptors.append(self._open(attributes, thread))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _library(pid):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if re.search(r"/libc\.so\.6$|/libc-[\d.]+\.so$", line):
                return line.split(maxsplit=5)[5]
        raise RuntimeError(f"process {pid} has no C library of its own")

    @classmethod
    def _offsets(cls, library):
        """Places of the functions in the file. Functions that are one another's alias have one."""
        loads = [[int(word, 16) for word in words[1:4]] for words in map(
            str.split, run("readelf", "-lW", library).stdout.splitlines()) if words and words[0] == "LOAD"]
        found = set()
        for words in map(str.split, run("readelf", "--dyn-syms", "-W", library).stdout.splitlines()):
            if len(words) > 7 and words[3] == "FUNC" and words[7].partition("@")[0] in cls.FUNCTIONS:
                address = int(words[1], 16)
                offset, start, _ = max(load for load in loads if load[1] <= address)
                found.add(address - start + offset)
        return found

    @classmethod
    def _open(cls, attributes, thread):
        libc = ctypes.CDLL(None, use_errno=True)
        memory = (ctypes.c_char * cls._SIZE).from_buffer(attributes)
        descriptor = libc.syscall(cls._PERF_EVENT_OPEN, memory, thread, -1, -1, 8)  # 8: PERF_FLAG_FD_CLOEXEC
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), f"perf_event_open of a probe: {os.strerror(ctypes.get_errno())}")
        return descriptor

    def count(self):
        return sum(int.from_bytes(os.read(descriptor, 8), "little") for descriptor in self._descriptors)

    def close(self):
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()


def pin(pids, *cpus):
    """Binds all threads of the processes, and what they start, to these processors."""
    for pid in pids:
        for thread in threads(pid):
            os.sched_setaffinity(thread, set(cpus))


def open_pipe(argv, spawn):
    return spawn(*argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
