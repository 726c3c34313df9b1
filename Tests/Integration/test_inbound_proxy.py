# SPDX-License-Identifier: Apache-2.0
"""Connections from outside the mesh that need the proxy, with the real agent, factory and proxy."""

import pytest
import yaml

from harness import manifests
from harness.capture import INGRESS, Rules, cookie_of
from harness.manifests import NAMESPACE, app, authorization_policy, network_policy
from harness.meshed import Applied
from harness.processes import run
from harness.routed import TARGET, Client, Routed
from harness.world import eventually


@pytest.fixture(scope="module")
def routed():
    made = Routed(outsiders=("u",))
    made.clients["u"] = Client(made.meshed, "u")
    yield made
    made.close()


@pytest.fixture
def ruled(routed):
    """What needs L7 at pod b, as if a policy said so."""
    rules = Rules(routed.agent)
    rules.needs_l7(cookie_of(routed.agent, "b"), INGRESS, TARGET)
    yield rules
    rules.close()


def ask(routed, family=4, **options):
    return routed.clients["u"].ask(address=routed.meshed.pod("b").address(family), port=TARGET, **options)


def test_without_a_rule_the_kernel_lets_it_in(routed):
    found = ask(routed)
    assert found["answer"]["pod"] == "b" and "x-forwarded-for" not in found["answer"]["headers"]


def test_the_proxy_hands_it_on_to_the_pod_itself(routed, ruled, family):
    pod = routed.meshed.pod("b")
    found = ask(routed, family, path="/in?side=1")
    assert found["answer"]["pod"] == "b" and found["answer"]["path"] == "/in?side=1"
    assert found["answer"]["headers"]["x-forwarded-for"] == routed.meshed.pod("u").address(family)
    # The client has met the pod, as far as it can see.
    assert found["peer"] == [pod.address(family), TARGET]
    for _ in range(2):
        assert ask(routed, family, keep=True)["answer"]["pod"] == "b"


def test_requests_from_outside_are_judged(routed, family):
    policies = Applied(routed.agent)
    try:
        policies(authorization_policy("b-opens", {"app": "b"}, "ALLOW", [{"to": [{"operation": {"paths": ["/open*"]}}]}]))
        eventually(lambda: ask(routed, family, path="/closed").get("status") == 403, what="a refusal")
        found = ask(routed, family, path="/open/door")
        assert (found["answer"]["pod"], found["answer"]["path"]) == ("b", "/open/door")
        assert found["answer"]["headers"]["x-forwarded-for"] == routed.meshed.pod("u").address(family)
    finally:
        policies.close()
    found = eventually(lambda: (one := ask(routed, family, path="/closed")).get("status") == 200 and one,
                       what="the end of the policy")
    assert "x-forwarded-for" not in found["answer"]["headers"]


def test_a_pod_sees_each_client_if_its_service_says_so(routed, ruled, family):
    outside, inside = (routed.meshed.pod(name).address(family) for name in ("u", "b"))

    def seen(**options):
        address, port = ask(routed, family, **options)["answer"]["client"]
        return address.removeprefix("::ffff:"), port

    assert seen()[0] == inside, "a connection of the pod's own, for whoever may"
    try:
        routed.agent.write_config("clients.yaml", {
                  "apiVersion": "sockmesh.io/v1alpha1", "kind": "MeshPolicy",
                  "metadata": {"name": "true-clients", "namespace": NAMESPACE},
                  "spec": {"targetRefs": [{"kind": "Service", "name": "web"}],
                           "connection": {"poolPerClient": True}}})
        eventually(lambda: seen()[0] == outside, what="the client's own address")
        found = ask(routed, family, path="/again")
        assert found["answer"]["headers"]["x-forwarded-for"] == outside
        # Connections are kept for the client: the port is that of one of its own.
        assert len({seen(keep=True) for _ in range(3)}) == 1
    finally:
        routed.agent.write_config("clients.yaml")
    eventually(lambda: seen()[0] == inside, what="the end of the policy")


def test_probes_of_declared_ports_are_not_captured(routed):
    """The node asks a port that its probe names, whatever rules of L7 say; others do not, and other ports are judged."""
    address = routed.meshed.pod("b").ipv4

    def of_node(path):
        return run(*routed.meshed.node.enter("curl", "--silent", "--max-time", "20", "--output", "/dev/null",
                                             "--write-out", "%{http_code}", f"http://{address}:{TARGET}{path}"),
                   check=False).stdout
    path = routed.agent.config / "objects.yaml"
    original = path.read_text()
    policies = Applied(routed.agent)
    try:
        policies(authorization_policy("b-opens", {"app": "b"}, "ALLOW", [{"to": [{"operation": {"paths": ["/open*"]}}]}]))
        eventually(lambda: of_node("/healthz") == "403", what="a refusal")
        objects = list(yaml.safe_load_all(original))
        pod = next(item for item in objects if item["kind"] == "Pod" and item["metadata"]["name"] == "b")
        pod["spec"]["containers"][0]["livenessProbe"] = {"httpGet": {"path": "/healthz", "port": TARGET}}
        routed.agent.write_config("objects.yaml", *objects)
        eventually(lambda: of_node("/healthz") == "200", what="the probe")
        assert ask(routed, path="/healthz")["status"] == 403
    finally:
        policies.close()
        manifests.replace(path, original)


def test_policy_of_addresses_still_holds(routed, ruled):
    assert ask(routed)["status"] == 200
    policies = Applied(routed.agent)
    try:
        policies(network_policy("b-hears-c", app("b"), ingress=[{"from": [{"podSelector": app("c")}]}]))
        assert "refused" in ask(routed)["error"]
    finally:
        policies.close()


def test_it_survives_the_agent_and_ends_with_the_proxy(routed, ruled):
    pid = routed.serving()
    routed.agent.kill()
    assert ask(routed)["status"] == 200
    routed.agent.start()
    assert routed.serving() == pid
    # The new agent has written the rows of pods anew.
    rules = Rules(routed.agent)
    try:
        rules.needs_l7(cookie_of(routed.agent, "b"), INGRESS, TARGET)
        found = eventually(lambda: (one := ask(routed)).get("status") == 200 and one, what="an answer")
        assert "x-forwarded-for" in found["answer"]["headers"]
        rules.control["proxy_live"] = 0
        found = ask(routed)
        assert "refused" in found["error"] and found["seconds"] < 10
        routed.meshed.denial(TARGET, "needs-proxy")
    finally:
        rules.control["proxy_live"] = 1
        rules.close()
