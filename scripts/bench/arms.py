# SPDX-License-Identifier: Apache-2.0
"""The four ways between two pods that are compared, each with its servers running."""

import json
import subprocess
import tempfile
from pathlib import Path

from cases import CORES
from harness.processes import root_of_repository, run, stop
from harness.world import World

MESHLOAD = root_of_repository() / "Benchmarks" / ".build" / "release" / "meshload"
# Why a direction that was redirected went over to TCP.
DOWNGRADES = ("high-water", "message-cap", "small-writes", "large-writes")


class Arm:
    """Pods a and b and meshload servers in b, one for each pair of cores and family."""

    def __init__(self, name, mode):
        self.name = name
        self.world = World(mode)
        self._servers = []
        self._ports = {}
        try:
            for number, cores in enumerate(CORES):
                for family in (4, 6):
                    port = 5000 + 20 * number + family
                    self._ports[cores, family] = port
                    self._serve(self.world.pod("b").address(family), port * 10, CORES[cores][1])
        except BaseException:
            self.remove()
            raise

    def _serve(self, address, port, cpu):
        process = self.world.spawn("b", MESHLOAD, "server", "--address", address, "--port", str(port), "--cpu",
                                   str(cpu), stdout=subprocess.PIPE, text=True)
        self._servers.append(process)
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{self.name}: the server on {address} did not start")

    def address(self, case):
        return self.world.pod("b").address(case.family), self._ports[case.cores, case.family] * 10

    def measure(self, case, seconds):
        """One run of a case; meshload's result."""
        address, port = self.address(case)
        warm_up = () if case.mode == "stream" else ("--warm-up", f"{seconds / 4}")
        argv = self.world.argv("a", MESHLOAD, case.mode, "--address", address, "--port", str(port), "--cpu",
                               str(CORES[case.cores][0]), "--seconds", str(seconds), *warm_up, *case.options)
        return json.loads(run(*argv, timeout=60 + 10 * seconds).stdout)

    def counters(self):
        """The mesh's counters by name; empty without a mesh."""
        if not self.world.agent:
            return {}
        return {entry["name"]: entry["value"] for entry in self.world.agent.json("status")["counters"]}

    def remove(self):
        for process in self._servers:
            stop(process, grace=0.5)
        self.world.remove()


class UnixArm(Arm):
    """The same processes over a UNIX stream socket: what two processes of one machine can reach at all."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="meshbench-")
        super().__init__("unix", "plain")

    def _serve(self, address, port, cpu):
        super()._serve(self._path(port), port, cpu)

    def _path(self, port):
        return f"unix:{Path(self._directory.name) / str(port)}"

    def address(self, case):
        port = self._ports[case.cores, case.family] * 10
        return self._path(port), port

    def remove(self):
        super().remove()
        self._directory.cleanup()


def make(name):
    modes = {"plain": "plain", "mesh": "enabled", "tcp-only": "disabled"}
    return UnixArm() if name == "unix" else Arm(name, modes[name])


ARMS = ("plain", "mesh", "tcp-only", "unix")
