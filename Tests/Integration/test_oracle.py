# SPDX-License-Identifier: Apache-2.0
"""Random policies, real connects, and an oracle that shares no line with the product: they must agree on each."""

import random

import pytest

from harness import manifests
from harness.manifests import authorization_policy, network_policy, peer_authentication
from harness.meshed import OTHER
from harness.oracle import Oracle, Party

PORTS = (8080, 9090, 8600)
NAMED = (("web", 8080), ("metrics", 9090))
NAMESPACES = {"test": {"team": "red"}, OTHER: {"team": "blue"}}
ROUNDS = 25


@pytest.fixture(scope="module")
def parties(meshed):
    """The pods as the oracle knows them; all of the mesh listen on all ports in both families."""
    extra = {"a": (("role", "client"),), "b": (("role", "server"),)}
    made = {name: Party(name, meshed.namespace_of(name), (("app", name), *extra.get(name, ())), f"sa-{name}",
                        (pod.ipv4, pod.ipv6), name != "u") for name, pod in meshed.node.pods.items()}
    listeners = [meshed.server(name, port, family)
                 for name in made if name != "u" for port in PORTS for family in (4, 6)]
    yield made
    for listener in listeners:
        listener.close()


class Generator:
    """Small random policies: few values, so that they often meet."""

    def __init__(self, seed, addresses):
        self._random = random.Random(seed)
        self._addresses = addresses

    def policies(self):
        pick = self._random
        made = [self._network_policy(f"np-{number}") for number in range(pick.randrange(4))]
        made += [self._authorization(f"ap-{number}") for number in range(pick.randrange(3))]
        if pick.random() < 0.3:
            made.append(peer_authentication("default", pick.choice(["STRICT", "PERMISSIVE"]),
                                            namespace=pick.choice(["test", OTHER])))
        if pick.random() < 0.2:
            made.append(peer_authentication("one", pick.choice(["STRICT", "PERMISSIVE"]), {"app": "b"}))
        return made

    def _selector(self):
        pick = self._random
        return pick.choice([
            {}, {"matchLabels": {"app": pick.choice("abco")}}, {"matchLabels": {"role": "server"}},
            {"matchExpressions": [{"key": "role", "operator": pick.choice(["Exists", "DoesNotExist"])}]},
            {"matchExpressions": [{"key": "app", "operator": pick.choice(["In", "NotIn"]),
                                   "values": pick.sample("abcou", 2)}]}])

    def _namespace_selector(self):
        return self._random.choice([{}, {"matchLabels": {"team": "red"}}, {"matchLabels": {"team": "blue"}}])

    def _range(self):
        pick = self._random
        address = pick.choice(self._addresses)
        return f"{address}/{128 if ':' in address else 32}"

    def _peer(self):
        pick = self._random
        kind = pick.randrange(4)
        if kind == 0:
            wide, pool = pick.choice([("10.81.0.0/16", "."), ("fd81::/64", ":")])
            exceptions = [self._range() for _ in range(pick.randrange(3))]
            return {"ipBlock": {"cidr": wide, "except": [one for one in exceptions if pool in one]}}
        if kind == 1:
            return {"podSelector": self._selector()}
        if kind == 2:
            return {"namespaceSelector": self._namespace_selector()}
        return {"namespaceSelector": self._namespace_selector(), "podSelector": self._selector()}

    def _ports(self):
        pick = self._random
        return [pick.choice([
            {"port": pick.choice(PORTS)}, {"port": pick.choice(["web", "metrics"])}, {"protocol": "TCP"},
            {"port": 8000, "endPort": pick.choice([8599, 8600, 9000, 9090])},
            {"protocol": "UDP", "port": pick.choice(PORTS)}])]

    def _rules(self, peers):
        pick = self._random
        rules = []
        for _ in range(pick.randrange(3)):
            rule = {}
            if pick.random() < 0.8:
                rule[peers] = [self._peer() for _ in range(pick.randrange(1, 3))]
            if pick.random() < 0.5:
                rule["ports"] = self._ports()
            rules.append(rule)
        return rules

    def _network_policy(self, name):
        pick = self._random
        return network_policy(
            name, self._selector(), namespace=pick.choice(["test", "test", OTHER]),
            **pick.choice([{"ingress": self._rules("from")}, {"egress": self._rules("to")},
                           {"ingress": self._rules("from"), "egress": self._rules("to")}]))

    def _authorization(self, name):
        pick = self._random
        rules = []
        for _ in range(pick.randrange(3)):
            rule = {}
            if pick.random() < 0.8:
                rule["from"] = [{"source": self._source()} for _ in range(pick.randrange(1, 3))]
            if pick.random() < 0.4:
                rule["to"] = [{"operation": {"ports": [str(pick.choice(PORTS))]}}]
            rules.append(rule)
        return authorization_policy(
            name, pick.choice([None, {"app": "b"}, {"role": "client"}]), pick.choice(["ALLOW", "DENY"]), rules,
            namespace=pick.choice(["test", "test", OTHER]))

    def _source(self):
        pick = self._random
        return pick.choice([
            {"serviceAccounts": [pick.choice(["sa-a", "test/sa-c", "other/sa-o"])]},
            {"notServiceAccounts": [pick.choice(["sa-a", "sa-b"])]},
            {"namespaces": [pick.choice(["test", OTHER, "te*"])]}, {"notNamespaces": ["test"]},
            {"principals": [pick.choice(["*", "cluster.local/ns/test/*", "*/sa/sa-c", "cluster.local/ns/test/sa/sa-a"])]},
            {"notPrincipals": [pick.choice(["*", "*/sa/sa-o"])]},
            {"ipBlocks": [self._range()]}, {"notIpBlocks": [self._range(), self._range()]},
            {"namespaces": ["test"], "notPrincipals": ["*/sa/sa-a"]}])


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_every_connect_ends_as_the_oracle_says(meshed, parties, policies, seed):
    addresses = [address for party in parties.values() for address in party.addresses]
    applied = Generator(seed, addresses).policies()
    if applied:
        policies(*applied)
    oracle = Oracle(NAMESPACES, parties, applied, NAMED)
    wrong = []
    for source in parties.values():
        for destination in parties.values():
            if not destination.enrolled:
                continue
            for family in (4, 6):
                for port in PORTS:
                    expected = oracle.outcome(source, destination, family, port)
                    met = meshed.outcome(source.name, destination.name, port, family)
                    if met != expected:
                        wrong.append(f"{source.name} to {destination.name}:{port} IPv{family}: "
                                     f"{met}, the oracle says {expected}")
    assert not wrong, "\n".join(wrong) + "\nunder\n" + manifests.text(*applied)
