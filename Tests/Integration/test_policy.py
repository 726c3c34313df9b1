# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicy at connect(2): who is refused, with which error, how fast, and what explains it."""

import socket

import pytest

from harness.manifests import app, network_policy
from harness.remote import Peer
from harness.world import family_number, fastest

PORT = 8080
MILLISECOND = 0.001


@pytest.fixture(autouse=True, scope="module")
def servers(meshed):
    """Something listens on port 8080 of a, b, c and o, in both families."""
    made = [meshed.server(pod, PORT, family) for pod in ("a", "b", "c", "o") for family in (4, 6)]
    made.append(meshed.server("b", 9090))
    yield
    for listener in made:
        listener.close()


def allow_from(name, *peers, ports=None, selector=app("b")):
    rule = {"from": list(peers)} if peers else {}
    if ports:
        rule["ports"] = ports
    return network_policy(name, selector, ingress=[rule])


def test_without_policy_everybody_reaches_everybody(meshed, family):
    for source in ("a", "b", "c", "o", "u"):
        for destination in ("a", "b", "c", "o"):
            assert meshed.outcome(source, destination, PORT, family) == "ok"


@pytest.mark.alone
def test_denied_egress_is_eperm_in_less_than_a_millisecond(meshed, policies, family):
    policies(network_policy("a-says-nothing", app("a"), egress=[]))
    assert fastest(lambda: meshed.median_seconds("EPERM", "a", "b", PORT, family), MILLISECOND) < MILLISECOND
    assert meshed.outcome("c", "b", PORT, family) == "ok"
    assert meshed.outcome("a", "a", PORT, family) == "ok", "a pod always reaches itself"
    denial = meshed.denial(PORT, "policy-egress")
    assert denial["direction"] == "egress"
    assert denial["policy"]["name"] == "a-says-nothing"
    assert denial["source"]["workload"] == "test/a" and denial["destination"]["workload"] == "test/b"


@pytest.mark.alone
def test_denied_ingress_is_econnrefused_in_less_than_a_millisecond(meshed, policies, family):
    policies(network_policy("b-hears-nobody", app("b"), ingress=[]))
    for source in "ao":
        assert fastest(lambda: meshed.median_seconds("ECONNREFUSED", source, "b", PORT, family),
                       MILLISECOND) < MILLISECOND
    assert meshed.outcome("u", "b", PORT, family) == "ECONNREFUSED", "from outside the mesh too"
    assert meshed.outcome("a", "c", PORT, family) == "ok"
    assert meshed.denial(PORT, "policy-ingress")["direction"] == "ingress"


def test_the_mapped_form_of_an_address_is_no_way_round(meshed, policies):
    policies(network_policy("a-says-nothing", app("a"), egress=[]))
    assert meshed.outcome("a", f"::ffff:{meshed.pod('b').ipv4}", PORT) == "EPERM"


def test_nobody_listens_is_not_a_denial(meshed):
    assert meshed.outcome("a", "b", 4444) == "ECONNREFUSED"
    assert meshed.denials(4444) == []


def test_both_ends_must_allow(meshed, policies, family):
    policies(network_policy("a-to-b", app("a"), egress=[{"to": [{"podSelector": app("b")}]}]))
    assert meshed.outcome("a", "b", PORT, family) == "ok"
    assert meshed.outcome("a", "c", PORT, family) == "EPERM"
    policies(allow_from("only-c", {"podSelector": app("c")}))
    assert meshed.outcome("a", "b", PORT, family) == "ECONNREFUSED"
    assert meshed.outcome("c", "b", PORT, family) == "ok"


def test_policies_add_up(meshed, policies):
    policies(allow_from("from-a", {"podSelector": app("a")}), allow_from("from-o", {"namespaceSelector": {
        "matchLabels": {"team": "blue"}}}))
    assert [meshed.outcome(source, "b", PORT) for source in ("a", "o", "c")] == ["ok", "ok", "ECONNREFUSED"]


def test_a_pod_selector_alone_means_the_own_namespace(meshed, policies):
    policies(allow_from("all-of-mine", {"podSelector": {}}))
    assert [meshed.outcome(source, "b", PORT) for source in ("a", "c", "o")] == ["ok", "ok", "ECONNREFUSED"]


def test_namespace_and_pod_selector_together_narrow(meshed, policies):
    blue = {"matchLabels": {"team": "blue"}}
    policies(allow_from("blue-a", {"namespaceSelector": blue, "podSelector": app("a")}))
    assert [meshed.outcome(source, "b", PORT) for source in ("a", "o")] == ["ECONNREFUSED", "ECONNREFUSED"]
    policies(allow_from("blue-a", {"namespaceSelector": blue, "podSelector": app("o")}))
    assert [meshed.outcome(source, "b", PORT) for source in ("a", "o")] == ["ECONNREFUSED", "ok"]


def test_address_ranges_with_exceptions(meshed, policies):
    c = meshed.pod("c").ipv4
    policies(allow_from("range", {"ipBlock": {"cidr": "10.81.0.0/16", "except": [f"{c}/32"]}}))
    assert [meshed.outcome(source, "b", PORT) for source in ("a", "u", "c")] == ["ok", "ok", "ECONNREFUSED"]
    assert meshed.outcome("a", "b", PORT, 6) == "ECONNREFUSED", "a range of IPv4 says nothing about IPv6"


@pytest.mark.parametrize("ports, reached", [
    ([{"port": PORT}], (True, False)), ([{"port": "metrics"}], (False, True)),
    ([{"port": 9000, "endPort": 9100}], (False, True)), ([{"port": 8000, "endPort": 9100}], (True, True)),
    ([{"protocol": "UDP", "port": PORT}], (False, False)), ([{"protocol": "TCP"}], (True, True)),
    ([{"port": 9091, "endPort": 65535}], (False, False))],
    ids=["number", "name", "range", "wide range", "UDP only", "TCP, any port", "range beside it"])
def test_ports(meshed, policies, ports, reached):
    policies(allow_from("ports", ports=ports))
    expected = ["ok" if yes else "ECONNREFUSED" for yes in reached]
    assert [meshed.outcome("a", "b", port) for port in (PORT, 9090)] == expected


def test_the_own_node_is_never_blocked(meshed, policies, family):
    """Kubelet probes must reach the pod (NetworkPolicy: traffic from the pod's own node)."""
    policies(network_policy("b-hears-nobody", app("b"), ingress=[]))
    host = Peer(meshed.node.enter(), "node")
    try:
        client = host.socket(family_number(family), socket.SOCK_STREAM)
        client.connect((meshed.pod("b").address(family), PORT))
    finally:
        host.close()


def test_explain_says_what_connect_does(meshed, policies):
    policies(network_policy("a-to-b", app("a"), egress=[{"to": [{"podSelector": app("b")}]}]),
             allow_from("only-c", {"podSelector": app("c")}))
    for source, destination, verdict, policy in (
            ("a", "c", "deny", "a-to-b"), ("a", "b", "deny", "only-c"), ("c", "b", "allow", "only-c")):
        report = meshed.agent.json("policy", "explain", f"test/{source}", f"test/{destination}:{PORT}")
        assert report["verdict"] == verdict
        assert (meshed.outcome(source, destination, PORT) == "ok") is (verdict == "allow")
        assert policy in str(report["answers"])


def test_apply_reports_a_generation_that_is_in_force(meshed, policies):
    before = meshed.agent.json("status")["generation"]
    report = policies(network_policy("b-hears-nobody", app("b"), ingress=[]))
    assert report["generation"] > before
    assert meshed.outcome("a", "b", PORT) == "ECONNREFUSED"
    assert meshed.agent.json("status")["generation"] == report["generation"]


def test_rollback(meshed, policies):
    policies(allow_from("only-c", {"podSelector": app("c")}))
    policies(allow_from("only-c", {"podSelector": app("a")}))
    assert [meshed.outcome(source, "b", PORT) for source in ("a", "c")] == ["ok", "ECONNREFUSED"]
    meshed.agent.ctl("policy", "rollback")
    assert [meshed.outcome(source, "b", PORT) for source in ("a", "c")] == ["ECONNREFUSED", "ok"]
