# SPDX-License-Identifier: Apache-2.0
"""Live connections that a change of policy denies, and how long after the flip each of their calls fails."""

import errno
import json
import select
import subprocess
from pathlib import Path

from .manifests import app, network_policy
from .processes import PATIENCE, spawn

PROBE = Path(__file__).with_name("cut_probe.py")
ERRORS = {errno.ECONNABORTED, errno.ECONNRESET, errno.EPIPE, errno.EACCES}
ONLY_C = network_policy("cut", app("b"), ingress=[{"from": [{"podSelector": app("c")}]}])
EVERYBODY = network_policy("cut", app("b"), ingress=[{}])


class Probe:
    """cut_probe.py in a pod."""

    def __init__(self, meshed, pod, *arguments):
        self._process = spawn(*meshed.argv(pod, "/usr/bin/python3", PROBE, *arguments),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self):
        return json.loads(self._process.stdout.readline())

    def failures(self):
        """[[errno, CLOCK_MONOTONIC seconds]] of its connections, which stay open until `end`."""
        assert select.select([self._process.stdout], [], [], PATIENCE)[0], "not every connection was cut"
        return self.says()["failures"]

    def end(self):
        self._process.communicate(timeout=PATIENCE)


def cut(meshed, apply, generation, family, activity, count, before=None):
    """Cuts `count` connections from a to b: by side, the seconds from the flip of the generation word, which is read
    where the kernel reads it, to each connection's failing call. activity: active or idle. `before` is called with the
    server's port when they are there."""
    apply(EVERYBODY)
    address = meshed.pod("b").address(family)
    server = Probe(meshed, "b", "serve", address, str(count))
    port = server.says()["port"]
    client = Probe(meshed, "a", "ask", address, str(count), str(port), activity)
    assert (server.says(), client.says()) == ({"watching": count}, {"watching": count})
    if before:
        before(port)
    flip = generation.watch_flip()
    apply(ONLY_C)
    flip.join()
    delays = {}
    for name, probe in (("client", client), ("server", server)):
        failures = probe.failures()
        assert {code for code, _ in failures} <= ERRORS, f"{name}: {failures}"
        delays[name] = [at - flip.at for _, at in failures]
        assert len(delays[name]) == count
    for probe in (client, server):
        probe.end()
    return delays
