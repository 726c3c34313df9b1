# SPDX-License-Identifier: Apache-2.0
"""A node with pods, made of network namespaces: nothing of it is seen in the machine's own namespace."""

import os
import re
from pathlib import Path

from children import run
from terminal import StepFailed

_PREFIX = "meshdemo"
_NETNS = Path("/run/netns")


class Node:
    """One namespace for the node, with a bridge in it, and one for each pod, on a veth of that bridge.

    The names carry the number of this process, so demos do not collide and what a killed one left is recognised.
    """

    def __init__(self) -> None:
        self.id = f"{_PREFIX}-{os.getpid()}"
        self.netns = f"{self.id}-node"
        self._made: list[str] = []

    def make(self) -> None:
        self._add(self.netns)
        for words in (
            "link set lo up",
            "link add br0 type bridge",
            "addr add 10.79.0.1/24 dev br0",
            "addr add fd79::1/64 dev br0 nodad",
            "link set br0 up",
        ):
            run("ip", "-n", self.netns, *words.split())

    def pod_netns(self, pod: str) -> str:
        return f"{self.id}-{pod}"

    def add_pod(self, pod: str, number: int) -> None:
        """A pod with the addresses 10.79.0.NUMBER and fd79::NUMBER."""
        netns = self.pod_netns(pod)
        self._add(netns)
        run("ip", "-n", self.netns, "link", "add", f"v{number}", "type", "veth",
            "peer", "name", "eth0", "netns", netns)
        run("ip", "-n", self.netns, "link", "set", f"v{number}", "master", "br0", "up")
        for words in (
            "link set lo up",
            f"addr add 10.79.0.{number}/24 dev eth0",
            f"addr add fd79::{number}/64 dev eth0 nodad",
            "link set eth0 up",
            "route add default via 10.79.0.1",
            "-6 route add default via fd79::1",
        ):
            run("ip", "-n", netns, *words.split())

    def inside(self, netns: str) -> list[str]:
        """Words before a command that runs it in a namespace.

        Not `ip netns exec`: that hides /sys/fs/cgroup and /sys/fs/bpf behind a new /sys.
        """
        return ["nsenter", f"--net={_NETNS / netns}", "--"]

    def remove(self) -> list[str]:
        """Removes all namespaces; veths and bridge go with them. Returns what could not be removed."""
        problems = []
        for netns in reversed(self._made):
            try:
                run("ip", "netns", "delete", netns)
            except StepFailed as error:
                problems.append(str(error))
        self._made.clear()
        return problems

    def _add(self, netns: str) -> None:
        run("ip", "netns", "add", netns)
        self._made.append(netns)


def left_by_killed_demos() -> list[str]:
    """Ids of demos that were killed and could not clean up."""
    ids = set()
    for place in (_NETNS, Path("/run")):
        for entry in place.glob(f"{_PREFIX}-*") if place.is_dir() else []:
            match = re.match(rf"{_PREFIX}-(\d+)", entry.name)
            if match and not Path(f"/proc/{match[1]}").exists():
                ids.add(match[0])
    return sorted(ids)


def remove_namespaces_of(identifier: str) -> None:
    for entry in _NETNS.glob(f"{identifier}-*") if _NETNS.is_dir() else []:
        run("ip", "netns", "delete", entry.name)
