# SPDX-License-Identifier: Apache-2.0
"""Policy changes are atomic: every verdict is that of one generation as a whole, while they follow one another."""

import json
import os
import random
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness.admin import AdminConnection
from harness.kernel import Verdicts
from harness.manifests import app, network_policy
from harness.oracle import Oracle, Party
from harness.processes import PATIENCE, spawn, stop
from test_oracle import NAMED, NAMESPACES, PORTS, Generator

# What else the machine does would show in its times or counts.
pytestmark = pytest.mark.alone

# Of one or two policies each; a long run raises it.
UPDATES = int(os.environ.get("MESH_ATOMIC_UPDATES", "40"))
# Of changes under real connects: at least so long and so many; a long run raises them.
CONNECT_SECONDS = int(os.environ.get("MESH_ATOMIC_SECONDS", "8"))
CONNECT_UPDATES = 20 * CONNECT_SECONDS
PROBE = Path(__file__).with_name("harness") / "flip_probe.py"


class Asker(threading.Thread):
    """Asks the kernel for verdicts as fast as it can and keeps what it heard."""

    def __init__(self, verdicts, questions):
        super().__init__(daemon=True)
        self._verdicts = verdicts
        self._questions = questions
        self._ended = threading.Event()
        self.heard = set()

    def run(self):
        pick = random.Random(1)
        while not self._ended.is_set():
            key, packet = pick.choice(self._questions)
            generation, allowed, _ = self._verdicts.ask(packet)
            self.heard.add((generation, key, allowed))

    def stop(self):
        self._ended.set()
        self.join()


def test_every_verdict_is_of_one_generation(meshed, policies):
    """Random changes; what was heard under a generation must be what the oracle says of its policies."""
    cookies = {(w["namespace"], w["name"]): w["netnsCookie"] for w in meshed.agent.json("workloads")}
    parties = {name: Party(name, meshed.namespace_of(name), (
        ("app", name), *{"a": (("role", "client"),), "b": (("role", "server"),)}.get(name, ())), f"sa-{name}",
        (pod.ipv4, pod.ipv6), name != "u") for name, pod in meshed.node.pods.items()}
    verdicts = Verdicts(meshed.agent)
    questions = [
        ((source.name, destination.name, family, port), verdicts.packet(
            source.addresses[family == 6], destination.addresses[family == 6], port,
            cookies[source.namespace, source.name] if source.enrolled else 0))
        for source in parties.values() for destination in parties.values()
        if destination.enrolled and source != destination for family in (4, 6) for port in PORTS]
    asker = Asker(verdicts, questions)
    in_force = {meshed.agent.json("status")["generation"]: []}
    generator = Generator(99, [address for party in parties.values() for address in party.addresses])
    asker.start()
    current = {}
    for _ in range(UPDATES):
        for policy in generator.policies()[:2]:
            current[policy["kind"], policy["metadata"]["namespace"], policy["metadata"]["name"]] = policy
            generation = policies(policy)["generation"]
            in_force[generation] = list(current.values())
    asker.stop()
    verdicts.close()
    wrong = []
    oracles = {generation: Oracle(NAMESPACES, parties, objects, NAMED) for generation, objects in in_force.items()}
    for generation, (source, destination, family, port), allowed in asker.heard:
        assert generation in in_force, f"a verdict of generation {generation}, which no change has made"
        expected = oracles[generation].outcome(parties[source], parties[destination], family, port)
        if (expected == "ok") is not allowed:
            wrong.append(f"generation {generation}: {source} to {destination}:{port} IPv{family}: "
                         f"{'allowed' if allowed else 'denied'}, the oracle says {expected}")
    assert len({generation for generation, *_ in asker.heard}) > UPDATES // 10, "the asker saw too few generations"
    assert not wrong, "\n".join(wrong[:20])


class Connecting:
    """flip_probe.py in a pod: real connects to the server, one after another."""

    def __init__(self, meshed, pod, port):
        self._process = spawn(
            *meshed.argv(pod, "/usr/bin/python3", PROBE, meshed.agent.bpffs, str(port),
                         *(meshed.pod("b").address(family) for family in (4, 6))),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n"

    def heard(self):
        """[[generation before, generation after, outcome, times]]"""
        output, _ = self._process.communicate(timeout=PATIENCE)
        return json.loads(output)

    def end(self):
        stop(self._process, grace=0)


@pytest.fixture
def connecting(meshed):
    """connecting() makes pods a and c connect to b, which accepts all that comes, until the end of the test."""
    port, started = 8700, {}
    server = meshed.peer("b", fresh=True)
    for family in (4, 6):
        server.start("accept_all", meshed.listen("b", family, port=port, peer=server)[0])

    def start():
        for pod in ("a", "c"):
            started[pod] = Connecting(meshed, pod, port)
        return started
    yield start
    for probe in started.values():
        probe.end()
    server.close()


def moved(permitted, direction):
    """Policies under which exactly one of a and c may connect to b, and what each of them meets."""
    refused = "c" if permitted == "a" else "a"
    by_ingress = direction == "ingress"
    objects = [network_policy("b-hears", app("b"), ingress=[{"from": [{"podSelector": app(permitted)}]}]
                              if by_ingress else [{}])]
    objects += [network_policy(f"{pod}-asks", app(pod), egress=[] if pod == refused and not by_ingress else [{}])
                for pod in ("a", "c")]
    return objects, {permitted: "ok", refused: "ECONNREFUSED" if by_ingress else "EPERM"}


def test_every_connect_is_of_one_generation(meshed, policies, connecting):
    """The permission moves from pod to pod and from direction to direction. Half of one generation and half of another
    would let both in, or neither: a connect under way at the change has to end as one of the two says."""
    pick = random.Random(7)
    objects, outcomes = moved("a", "ingress")
    expected = {policies(*objects)["generation"]: outcomes}
    probes = connecting()
    admin = AdminConnection(meshed.agent)
    started = time.monotonic()
    # A busy machine takes longer for as many.
    while (seconds := time.monotonic() - started) < CONNECT_SECONDS or (
            len(expected) < CONNECT_UPDATES and seconds < 4 * CONNECT_SECONDS):
        objects, outcomes = moved(pick.choice("ac"), pick.choice(["ingress", "egress"]))
        expected[admin.apply(*objects)["generation"]] = outcomes
    admin.close()
    wrong, exact, across = [], 0, 0
    for pod, probe in probes.items():
        for before, after, outcome, times in probe.heard():
            # Not more than a few policies pass during a connect: each must be known.
            said = [expected[number][pod] for number in range(before, after + 1)]
            # Let in by one and cut by a later one before connect() has returned: an outcome of both, whole.
            was_cut = outcome == "ECONNABORTED" and "ok" in said and any(
                other != "ok" for other in said[said.index("ok"):])
            if outcome not in said and not was_cut:
                wrong.append(f"{pod}, generation {before} to {after}: {outcome} {times} times, not {said}")
            exact += times if before == after else 0
            across += times if before != after else 0
    print(f"{len(expected)} updates, {exact} connects within a generation, {across} across a change")
    assert not wrong, "\n".join(wrong[:20])
    assert len(expected) > CONNECT_UPDATES // 10 and exact > CONNECT_UPDATES * 10 and across, "too little happened"
