# SPDX-License-Identifier: Apache-2.0
"""Policy changes are atomic: every verdict is that of one generation as a whole, while they follow one another."""

import os
import random
import threading

from harness.kernel import Verdicts
from harness.oracle import Oracle, Party
from test_oracle import NAMED, NAMESPACES, PORTS, Generator

# Of one or two policies each; a long run raises it.
UPDATES = int(os.environ.get("MESH_ATOMIC_UPDATES", "80"))


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
