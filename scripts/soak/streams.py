# SPDX-License-Identifier: Apache-2.0
"""The traffic of the soak: meshload mix servers and clients in pods."""

import json
import subprocess
from dataclasses import dataclass

from harness.processes import root_of_repository, spawn, stop

MESHLOAD = root_of_repository() / "Benchmarks" / ".build" / "release" / "meshload"
HANG_SECONDS = 30


@dataclass(frozen=True)
class Route:
    """From pod `source` to `address`, which leads to a mix server on `listen` in pod `target`; `share` of all bytes.
    `options`: of the client, besides."""
    name: str
    source: str
    target: str
    address: str
    listen: str
    port: int
    share: float
    options: tuple[str, ...] = ()


class Servers:
    """A mix server for each route: client and server compare their totals."""

    def __init__(self, world, routes):
        self.processes = []
        for route in routes:
            process = world.spawn(route.target, MESHLOAD, "mix-server", "--address", route.listen, "--port",
                                  str(route.port), "--hang-seconds", str(HANG_SECONDS), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
            self.processes.append((route.name, process))
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"the mix server of {route.name} did not start: {process.stderr.read()}")

    def failures(self):
        """What servers that have ended said; nothing may end one before `stop`."""
        return [f"server {name}: exit code {process.returncode}: {process.stderr.read().strip()}"
                for name, process in self.processes if process.poll() is not None]

    def stop(self):
        for _, process in self.processes:
            stop(process, grace=0.5)


class Client:
    def __init__(self, world, route, total, seconds, connections, seed):
        self.route = route
        argv = world.argv(
            route.source, MESHLOAD, "mix", "--address", route.address, "--port", str(route.port),
            "--bytes", str(max(1 << 20, int(total * route.share))), "--seconds", str(seconds),
            "--connections", str(connections), "--seed", str(seed), "--hang-seconds", str(HANG_SECONDS),
            *route.options)
        self.process = spawn(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @property
    def running(self):
        return self.process.poll() is None

    def outcome(self):
        """(result or None, failure or None) of a client that has ended."""
        output, errors = self.process.communicate()
        if self.process.returncode == 0:
            return json.loads(output), None
        kind = {1: "failed", 2: "found a wrong byte", 3: "hangs"}.get(self.process.returncode, "died")
        return None, f"client {self.route.name} {kind} (exit code {self.process.returncode}): {errors.strip()}"
