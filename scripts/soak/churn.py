# SPDX-License-Identifier: Apache-2.0
"""Policy changes beside the traffic: every one recompiles, renumbers or re-decides, none denies the traffic."""

import random
import threading
import time

from harness import manifests


class Churn:
    """Applies a random policy every `interval` seconds until it is stopped."""

    def __init__(self, agent, port_range, interval=0.1, seed=1):
        self._agent = agent
        self._ports = port_range
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._interval = interval
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.applied = 0
        self.milliseconds = []
        self.failure = None
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join(30)

    def _run(self):
        try:
            while not self._stop.wait(self._interval):
                started = time.monotonic()
                self._agent.apply(self._policy())
                self.milliseconds.append((time.monotonic() - started) * 1000)
                self.applied += 1
        except Exception as error:
            self.failure = error

    def _policy(self):
        """Selects a pod of the traffic, always lets the others in, and lets something random in besides."""
        first, last = self._ports
        number = self._random.randrange(4)
        everyone = {"from": [{"podSelector": {"matchExpressions": [
            {"key": "app", "operator": "In", "values": ["a", "b", "c"]}]}}],
            "ports": [{"protocol": "TCP", "port": first, "endPort": last}]}
        stranger = {
            "from": [{"ipBlock": {"cidr": f"192.0.{self._random.randrange(256)}.0/24"}},
                     {"podSelector": {"matchLabels": {f"key{self._random.randrange(6)}": "value"}}}],
            "ports": [{"protocol": self._random.choice(["TCP", "UDP"]), "port": self._random.randrange(1, 65535)}]}
        return manifests.network_policy(
            f"churn-{number}", manifests.app(self._random.choice("abc")), ingress=[everyone, stranger])
