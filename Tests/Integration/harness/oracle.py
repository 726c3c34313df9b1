# SPDX-License-Identifier: Apache-2.0
"""What policy means, written as slowly and literally as possible, straight from the APIs' own documentation.

Shares no line with the product. It knows pods, the manifests as dictionaries, and nothing of identities or sets.
"""

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True)
class Party:
    """A pod as policy sees it. `enrolled` pods are proved by the kernel, others are known by address only."""
    name: str
    namespace: str
    labels: tuple
    service_account: str
    addresses: tuple
    enrolled: bool


def selected(selector, labels):
    labels = dict(labels)
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions", []):
        present, value = expression["key"] in labels, labels.get(expression["key"])
        operator, values = expression["operator"], expression.get("values", [])
        if not {"In": present and value in values, "NotIn": not present or value not in values,
                "Exists": present, "DoesNotExist": not present}[operator]:
            return False
    return True


class Oracle:
    def __init__(self, namespaces, parties, policies, container_ports=()):
        """namespaces: name -> labels; policies: manifests; container_ports: [(name, number)] of every pod."""
        self._namespaces = namespaces
        self._parties = parties
        self._policies = policies
        self._container_ports = dict(container_ports)

    def outcome(self, source, destination, family, port):
        """ok, EPERM or ECONNREFUSED for a TCP connection between two of the parties."""
        if source == destination:
            return "ok"
        if source.enrolled and not self._network_policy(source, destination, destination, "Egress", family, port):
            return "EPERM"
        if destination.enrolled and not (
                self._network_policy(destination, source, destination, "Ingress", family, port)
                and self._peer_authentication(source, destination)
                and self._authorization(source, destination, family, port)):
            return "ECONNREFUSED"
        return "ok"

    def _of(self, kind, namespace):
        return [policy["spec"] for policy in self._policies
                if policy["kind"] == kind and policy["metadata"]["namespace"] == namespace]

    def _network_policy(self, subject, peer, target, direction, family, port):
        field, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
        isolated = False
        for spec in self._of("NetworkPolicy", subject.namespace):
            if direction in spec["policyTypes"] and selected(spec["podSelector"], subject.labels):
                isolated = True
                for rule in spec.get(field, []):
                    if self._ports(rule.get("ports"), port) and (
                            not rule.get(peers) or any(
                                self._peer(one, subject, peer, family) for one in rule[peers])):
                        return True
        return not isolated

    def _ports(self, ports, port):
        if not ports:
            return True
        for entry in ports:
            if entry.get("protocol", "TCP") != "TCP":
                continue
            if "port" not in entry:
                return True
            number = self._container_ports.get(entry["port"], entry["port"])
            if number == port or "endPort" in entry and number <= port <= entry["endPort"]:
                return True
        return False

    def _peer(self, peer, subject, other, family):
        if "ipBlock" in peer:
            return any(in_range(address, peer["ipBlock"]["cidr"]) and not any(
                in_range(address, one) for one in peer["ipBlock"].get("except", []))
                for address in of_family(other.addresses, family))
        if "namespaceSelector" in peer:
            if not selected(peer["namespaceSelector"], tuple(self._namespaces[other.namespace].items())):
                return False
        elif other.namespace != subject.namespace:
            return False
        return "podSelector" not in peer or selected(peer["podSelector"], other.labels)

    def _peer_authentication(self, source, destination):
        of_namespace = of_pod = None
        for spec in self._of("PeerAuthentication", destination.namespace):
            if "selector" not in spec:
                of_namespace = spec["mtls"]["mode"]
            elif selected(spec["selector"], destination.labels):
                of_pod = spec["mtls"]["mode"]
        return (of_pod or of_namespace or "PERMISSIVE") != "STRICT" or source.enrolled

    def _authorization(self, source, destination, family, port):
        applying = [spec for spec in self._of("AuthorizationPolicy", destination.namespace)
                    if "selector" not in spec or selected(spec["selector"], destination.labels)]
        matches = {action: [any(self._rule(rule, source, destination, family, port) for rule in spec["rules"])
                            for spec in applying if spec["action"] == action] for action in ("DENY", "ALLOW")}
        return not any(matches["DENY"]) and (not matches["ALLOW"] or any(matches["ALLOW"]))

    def _rule(self, rule, source, destination, family, port):
        origins, operations = rule.get("from"), rule.get("to")
        return (not origins or any(self._source(one["source"], source, destination, family) for one in origins)) and (
            not operations or any(str(port) in one["operation"]["ports"] for one in operations))

    def _source(self, fields, source, destination, family):
        principal = f"cluster.local/ns/{source.namespace}/sa/{source.service_account}" if source.enrolled else None
        namespace = source.namespace if source.enrolled else None
        account = f"{source.namespace}/{source.service_account}" if source.enrolled else None
        tests = {
            "principals": lambda value: principal is not None and glob(value, principal),
            "namespaces": lambda value: namespace is not None and glob(value, namespace),
            "serviceAccounts": lambda value: account == (
                value if "/" in value else f"{destination.namespace}/{value}"),
            "ipBlocks": lambda value: any(
                in_range(address, value) for address in of_family(source.addresses, family)),
        }
        for field, values in fields.items():
            negative = field.startswith("not")
            test = tests[field[3].lower() + field[4:] if negative else field]
            if any(test(value) for value in values) is negative:
                return False
        return True


def of_family(addresses, family):
    """Those by which a pod is known in a connection of IPv4 (4) or IPv6 (6)."""
    return [address for address in addresses if ipaddress.ip_address(address).version == family]


def in_range(address, cidr):
    network, address = ipaddress.ip_network(cidr), ipaddress.ip_address(address)
    return address.version == network.version and address in network


def glob(pattern, text):
    """Istio's strings: exact, prefix `a*`, suffix `*a`, any `*`."""
    if pattern == "*":
        return bool(text)
    if pattern.startswith("*"):
        return text.endswith(pattern[1:])
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
