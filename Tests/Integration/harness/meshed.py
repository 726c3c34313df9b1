# SPDX-License-Identifier: Apache-2.0
"""A node for tests of policy: pods in two namespaces, one pod outside the mesh, policies that go as they came."""

import errno
import socket
import statistics

from . import manifests
from .processes import run
from .world import World, eventually, family_number, fastest

OTHER = "other"


class Meshed(World):
    """Pods a, b, c (namespace test), o (namespace other) and u (namespace test, not in the mesh)."""

    def __init__(self, mode="enabled", pods=("a", "b", "c", "o", "u"), ports=(), starts=True):
        self._container_ports = ports
        super().__init__(mode, pods, {"a": {"role": "client"}, "b": {"role": "server"}}, starts)

    def namespace_of(self, name):
        return OTHER if name.startswith("o") else manifests.NAMESPACE

    def pod_objects(self, labels):
        objects = [manifests.namespace(manifests.NAMESPACE, {"team": "red"}),
                   manifests.namespace(OTHER, {"team": "blue"})]
        return objects + [self.pod_object(name, labels.get(name)) for name in self.node.pods]

    def pod_object(self, name, labels=None, **changes):
        return manifests.pod(
            self.pod(name), labels, **{
                "accelerate": self.mode, "mesh": "disabled" if name == "u" else "enabled",
                "namespace": self.namespace_of(name), "service_account": f"sa-{name}",
                "ports": self._container_ports, **changes})

    def argv(self, name, *argv):
        pod = self.pod(name)
        if name == "u":
            return pod.enter(*argv)
        return self.agent.run_argv(pod, *argv, namespace=self.namespace_of(name))

    def server(self, name, port, family=4):
        """A listening socket that stays; the caller closes it."""
        return self.listen(name, family, port=port)[0]

    def attempt(self, source, destination, port, family=4):
        """connect(2) from a pod: ("ok" or the name of the error, seconds). destination: pod or address."""
        address = self.pod(destination).address(family) if destination in self.node.pods else destination
        peer = self.peer(source)
        client = peer.socket(family_number(6 if ":" in address else 4), socket.SOCK_STREAM)
        try:
            # A denial is immediate; what is not must not hang the test.
            client.setsockopt(socket.IPPROTO_TCP, 18, 3000)  # TCP_USER_TIMEOUT, milliseconds: also of a SYN
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 2)
            outcome, seconds = peer.timed("connect", client, (address, port))
        finally:
            client.close()
        return (errno.errorcode[outcome.errno] if isinstance(outcome, OSError) else "ok"), seconds

    def outcome(self, source, destination, port, family=4):
        return self.attempt(source, destination, port, family)[0]

    def median_seconds(self, expected, source, destination, port, family=4, times=20):
        """The median time of an attempt; each must end as expected."""
        times_taken = []
        for _ in range(times):
            outcome, seconds = self.attempt(source, destination, port, family)
            assert outcome == expected, f"{source} to {destination}:{port}: {outcome}, expected {expected}"
            times_taken.append(seconds)
        return statistics.median(times_taken)

    def is_at_once(self, expected, source, destination, port, family=4):
        """Whether one of many attempts ends as expected in under 1 ms, for tests that do not run alone. What waits for
        something always takes longer."""
        limit = 0.001
        return fastest(lambda: self.median_seconds(expected, source, destination, port, family, times=1), limit,
                       times=500) < limit

    def denials(self, port):
        """The denied events of the flow log for a port, oldest first."""
        return [event for event in self.agent.json("flows", "--verdict", "denied")
                if event["destination"]["port"] == port or (event.get("serviceAddress") or {}).get("port") == port]

    def denial(self, port, reason):
        """The newest event for a port, once it is one with this reason: events arrive a moment after the refusal."""
        def newest():
            events = self.denials(port)
            return events and events[-1]["reason"] == reason and events[-1]
        return eventually(newest, what=f"a denial of port {port} for {reason}")


class Applied:
    """Applies policies and takes them back at the end of a test."""

    def __init__(self, agent):
        self._agent = agent
        self._objects = {}

    def __call__(self, *objects):
        report = self._agent.apply(*objects)
        for item in objects:
            self._objects[item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]] = item
        return report

    def delete(self, *objects):
        for item in objects:
            self._agent.delete(item)
            del self._objects[item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]]

    def close(self):
        self.delete(*list(self._objects.values()))


class BorrowedAddress:
    """Pod a has the address of pod c on its loopback device, as a pod with CAP_NET_ADMIN can arrange."""

    def __init__(self, meshed, family):
        self._pod = meshed.pod("a")
        self._words = ("ip", f"-{family}", "addr"), (
            f"{meshed.pod('c').address(family)}/{32 if family == 4 else 128}", "dev", "lo")

    def __enter__(self):
        run(*self._pod.enter(*self._words[0], "add", *self._words[1], *(("nodad",) if "-6" in self._words[0] else ())))

    def __exit__(self, *_):
        run(*self._pod.enter(*self._words[0], "del", *self._words[1]))
