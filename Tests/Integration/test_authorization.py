# SPDX-License-Identifier: Apache-2.0
"""AuthorizationPolicy and PeerAuthentication at connect(2)."""

import pytest

from harness.manifests import authorization_policy, peer_authentication
from harness.world import eventually

PORT = 8081
B = {"app": "b"}


@pytest.fixture(autouse=True, scope="module")
def servers(meshed):
    made = [meshed.server("b", PORT), meshed.server("b", PORT, 6), meshed.server("b", 8082)]
    yield
    for listener in made:
        listener.close()


def reached(meshed, port=PORT, sources=("a", "c", "o", "u")):
    """The sources that reach b."""
    outcomes = {source: meshed.outcome(source, "b", port) for source in sources}
    assert set(outcomes.values()) <= {"ok", "ECONNREFUSED"}
    return {source for source, outcome in outcomes.items() if outcome == "ok"}


@pytest.mark.parametrize("source, allowed", [
    ({"serviceAccounts": ["sa-a"]}, {"a"}), ({"serviceAccounts": ["other/sa-o"]}, {"o"}),
    ({"notServiceAccounts": ["sa-a"]}, {"c", "o", "u"}),
    ({"principals": ["cluster.local/ns/test/sa/sa-c"]}, {"c"}), ({"principals": ["*/sa/sa-c"]}, {"c"}),
    ({"principals": ["cluster.local/ns/test/*"]}, {"a", "c"}), ({"principals": ["*"]}, {"a", "c", "o"}),
    ({"namespaces": ["other"]}, {"o"}), ({"namespaces": ["test"]}, {"a", "c"}),
    ({"notNamespaces": ["other"]}, {"a", "c", "u"}),
    ({"ipBlocks": ["10.81.0.10"]}, {"a"}), ({"notIpBlocks": ["10.81.0.10"]}, {"c", "o", "u"}),
    ({"namespaces": ["test"], "notPrincipals": ["*/sa/sa-a"]}, {"c"})],
    # The same in every process that runs a part of the tests.
    ids=lambda value: f"{sorted(value)}" if isinstance(value, set) else f"{value}")
def test_allow(meshed, policies, source, allowed):
    """Principals and namespaces match only who the kernel has proved: never pod u, whose address anybody could use."""
    policies(authorization_policy("allow", B, "ALLOW", [{"from": [{"source": source}]}]))
    assert reached(meshed) == allowed


def test_deny_beats_allow(meshed, policies):
    policies(authorization_policy("allow", B, "ALLOW", [{}]),
             authorization_policy("deny", B, "DENY", [{"from": [{"source": {"serviceAccounts": ["sa-a"]}}]}]))
    assert reached(meshed) == {"c", "o", "u"}


def test_ports(meshed, policies):
    policies(authorization_policy("port", B, "ALLOW", [{"to": [{"operation": {"ports": [str(PORT)]}}]}]))
    assert reached(meshed) == {"a", "c", "o", "u"}
    assert reached(meshed, 8082) == set()


def test_nothing_allowed(meshed, policies):
    policies(authorization_policy("nothing", B, "ALLOW", []))
    assert reached(meshed) == set()


def test_a_rule_with_http_fields_allows_nothing_and_denies_more(meshed, policies):
    http = {"to": [{"operation": {"methods": ["GET"]}}]}
    report = policies(authorization_policy("http", B, "ALLOW", [http]))
    assert reached(meshed) == set()
    assert any("HTTP" in finding["message"] and finding["field"] == "spec.rules[0].to[0].operation"
               for finding in report["findings"]), report["findings"]
    policies(authorization_policy("http", B, "DENY", [
        {**http, "from": [{"source": {"serviceAccounts": ["sa-a"]}}]}]))
    assert reached(meshed) == {"c", "o", "u"}


def test_dry_run_denies_nothing_and_is_counted(meshed, policies):
    def counted():
        return next((entry["value"] for entry in meshed.agent.json("status")["counters"]
                     if entry["name"] == "dry-run-differences"), 0)
    before = counted()
    policies(authorization_policy("try", B, "DENY", [{}], annotations={"istio.io/dry-run": "true"}))
    assert reached(meshed) == {"a", "c", "o", "u"}
    assert counted() > before
    eventually(lambda: any(event["kind"] == "dryRun" for event in meshed.agent.json("flows")), what="an event")


def test_strict_admits_only_whom_the_kernel_has_proved(meshed, policies, family):
    policies(peer_authentication("strict", "STRICT", B))
    for source, expected in (("a", "ok"), ("o", "ok"), ("u", "ECONNREFUSED")):
        assert meshed.outcome(source, "b", PORT, family) == expected


def test_permissive_of_the_pod_beats_strict_of_the_namespace(meshed, policies):
    policies(peer_authentication("default", "STRICT"))
    assert "u" not in reached(meshed)
    policies(peer_authentication("b", "PERMISSIVE", B))
    assert "u" in reached(meshed)
