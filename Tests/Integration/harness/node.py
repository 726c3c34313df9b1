# SPDX-License-Identifier: Apache-2.0
"""A node made of network namespaces: one with a bridge for the node itself, one for each pod on a veth of it."""

import atexit
import contextlib
import ctypes
import itertools
import os
import re
import shutil
import threading
import time
from pathlib import Path

from .processes import PATIENCE, is_running, run

PREFIX = "meshtest"
_NETNS = Path("/run/netns")
_numbers = itertools.count(1)
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000

# Deterministic and fast: the kernel's own buffer limits whatever this machine's are (the agent's high-water mark is
# their sum), no ports held by TIME_WAIT, fast open both ways.
TCP_RMEM_MAX, TCP_WMEM_MAX = 6 << 20, 4 << 20
# Bytes that stay redirected though nobody reads them: what the buffers of a server's socket take.
UNREAD = 100_000
_BUFFERS = (f"net/ipv4/tcp_rmem=4096 131072 {TCP_RMEM_MAX}", f"net/ipv4/tcp_wmem=4096 16384 {TCP_WMEM_MAX}")
_SYSCTLS = (
    *_BUFFERS,
    "net/ipv4/tcp_fastopen=3",
    "net/ipv4/tcp_max_tw_buckets=512",
    "net/ipv4/ip_local_port_range=10000 65000",
    "net/ipv6/conf/all/accept_dad=0",
    "net/ipv6/conf/default/accept_dad=0",
)


def _writes(sysctls):
    """Shell words that set them in the namespace they run in."""
    return "".join(f"echo {value} > /proc/sys/{key} && " for key, value in (line.split("=") for line in sysctls))


class Pod:
    """A network namespace with eth0, an IPv4 and an IPv6 address. `index` is the last number of both."""

    def __init__(self, node, name, index):
        self.node = node
        self.name = name
        self.index = index
        self.netns = f"{node.id}-{name}"
        self.path = _NETNS / self.netns
        self.ipv4 = f"10.81.0.{index}" if index < 256 else f"10.81.{index // 256}.{index % 256}"
        self.ipv6 = f"fd81::{index:x}"

    def address(self, family):
        """family: 4, 6, or "mapped" for the IPv4 address as an IPv6 socket writes it."""
        return {4: self.ipv4, 6: self.ipv6, "mapped": f"::ffff:{self.ipv4}"}[family]

    def enter(self, *argv):
        """The command, run inside the namespace and nothing else (no mesh cgroup)."""
        return ["nsenter", f"--net={self.path}", "--", *argv]


class Node:
    """Names carry the number of this process, so that runs do not collide and leftovers are recognised."""

    def __init__(self, label="node"):
        self.id = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self.label = label
        self.netns = f"{self.id}-node"
        self.pods = {}
        self._made = []
        atexit.register(self.remove)
        try:
            self._add(self.netns)
            run(*self.enter("sh", "-c", _writes(_BUFFERS) + "true"))
            self._ip("link set lo up", "link add br0 type bridge", "addr add 10.81.0.1/16 dev br0",
                     "addr add fd81::1/64 dev br0 nodad", "link set br0 up")
        except BaseException:
            self.remove()
            raise

    def add_pod(self, name, index=None):
        pod = Pod(self, name, index or len(self.pods) + 10)
        self._add(pod.netns)
        run("ip", "-n", self.netns, "link", "add", f"v{pod.index}", "type", "veth",
            "peer", "name", "eth0", "netns", pod.netns)
        self._ip(f"link set v{pod.index} master br0 up")
        script = _writes(_SYSCTLS)
        script += "".join(f"ip {words} && " for words in (
            "link set lo up", f"addr add {pod.ipv4}/16 dev eth0", f"addr add {pod.ipv6}/64 dev eth0 nodad",
            "link set eth0 up", "route add default via 10.81.0.1", "-6 route add default via fd81::1"))
        run(*pod.enter("sh", "-c", script + "true"))
        self.pods[name] = pod
        return pod

    def enter(self, *argv):
        """The command, run in the node's own namespace. (`ip netns exec` would hide the cgroup and BPF mounts.)"""
        return ["nsenter", f"--net={_NETNS / self.netns}", "--", *argv]

    def delete_pod(self, name):
        """`ip netns delete`, as a runtime does when a pod ends."""
        pod = self.pods.pop(name)
        self._made.remove(pod.netns)
        run("ip", "netns", "delete", pod.netns)
        return pod

    def has_veth_of(self, pod):
        return run("ip", "-n", self.netns, "link", "show", f"v{pod.index}", check=False).returncode == 0

    def remove(self):
        if self._made:
            commands = "".join(f"netns delete {netns}\n" for netns in reversed(self._made))
            run("ip", "-force", "-batch", "-", check=False, text=commands)
        self._made.clear()
        self.pods.clear()
        atexit.unregister(self.remove)

    def _add(self, netns):
        run("ip", "netns", "add", netns)
        self._made.append(netns)

    def _ip(self, *commands):
        run("ip", "-n", self.netns, "-batch", "-", text="".join(f"{words}\n" for words in commands))


def in_namespace(path, make):
    """What `make()` returns, called by a thread in the network namespace: a socket is of it wherever it is used."""
    result = []

    def work():
        try:
            with open(path) as namespace:
                if _LIBC.setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            result.append((make(), None))
        except Exception as error:
            result.append((None, error))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    made, error = result[0]
    if error:
        raise error
    return made


def cgroup2_mount():
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise RuntimeError("no cgroup2 file system is mounted; scripts/bootstrap.sh --test says what to do")


def remove_cgroup(path):
    """Ends the processes of a cgroup and removes it with all below."""
    if not path.is_dir():
        return
    (path / "cgroup.kill").write_text("1")
    deadline = time.monotonic() + PATIENCE
    for directory in [*sorted((p for p in path.rglob("*") if p.is_dir()), reverse=True), path]:
        while True:
            try:
                os.rmdir(directory)
                break
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def sweep():
    """Removes what killed runs have left: namespaces, cgroups, pins and directories whose process is gone."""
    for place in (_NETNS, cgroup2_mount(), Path("/sys/fs/bpf"), Path("/run")):
        for entry in sorted(place.glob(f"{PREFIX}-*")) if place.is_dir() else []:
            owner = re.match(rf"{PREFIX}-(\d+)-", entry.name)
            if not owner or is_running(owner[1]):
                continue
            if place == _NETNS:
                run("ip", "netns", "delete", entry.name, check=False)
            elif place in (Path("/sys/fs/bpf"), Path("/run")):
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with contextlib.suppress(FileNotFoundError):  # another worker removes it as well
                    remove_cgroup(entry)
