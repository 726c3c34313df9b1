# SPDX-License-Identifier: Apache-2.0
"""A pod that leaves the mesh while its connections are open: they go on, byte for byte, in both directions."""

import pytest

from harness import manifests
from harness.manifests import app, network_policy
from harness.meshed import Meshed
from harness.node import UNREAD
from harness.world import eventually

STREAM = 24 << 20
BOTH_MAY = (network_policy("b-hears-a", app("b"), ingress=[{"from": [{"podSelector": app("a")}]}]),
            network_policy("a-asks-b", app("a"), egress=[{"to": [{"podSelector": app("b")}]}]))


@pytest.fixture(scope="module")
def node():
    """A node of its own, whose pods come and go."""
    made = Meshed(pods=("a", "b", "c"))
    yield made
    made.remove()


@pytest.fixture(params=["without policy", "with policy"])
def policy(request, node):
    """Policies that select both ends and allow their connection, or none."""
    if request.param == "with policy":
        node.agent.apply(*BOTH_MAY)
    yield
    if request.param == "with policy":
        node.agent.delete(*BOTH_MAY)
    enrol(node, "a", "b", "c")


def enrol(node, *names):
    """From now on these are in the mesh and no others."""
    labels = {"a": {"role": "client"}, "b": {"role": "server"}}
    node.agent.write_config("objects.yaml", manifests.namespace(manifests.NAMESPACE, {"team": "red"}), *[
        node.pod_object(name, labels.get(name), mesh="enabled" if name in names else "disabled")
        for name in node.node.pods])
    eventually(lambda: {one["name"] for one in node.agent.json("workloads")
                        if one["redirection"]["state"] == "enabled"} == set(names),
               what=f"a mesh of {names}")


def stream_both_ways(client, server, during=None):
    """The test stream in both directions at once; `during` is called in the middle of it."""
    draining = [server.start_drain(STREAM), client.start_drain(STREAM)]
    pouring = [client.start_pour(STREAM, chunk=16384), server.start_pour(STREAM, chunk=16384)]
    if during:
        during()
    assert [one.result() for one in draining] == [[STREAM, None]] * 2
    assert [one.result() for one in pouring] == [STREAM] * 2


LEAVERS = pytest.mark.parametrize("leavers", ["a", "b", "ab"], ids=["client", "server", "both"])


@LEAVERS
def test_an_idle_connection_goes_on(node, policy, family, leavers):
    client, server = node.connect(family)
    for end, other in ((client, server), (server, client)):
        end.send(b"before")
        assert other.recv(10) == b"before"
    enrol(node, *sorted(set("abc") - set(leavers)))
    for text in (b"one", b"two"):
        for end, other in ((client, server), (server, client)):
            end.send(text)
            assert other.recv(10) == text
    stream_both_ways(client, server)
    for end in (client, server):
        end.close()


@LEAVERS
def test_a_busy_connection_goes_on(node, policy, family, leavers):
    client, server = node.connect(family)
    stream_both_ways(client, server, lambda: enrol(node, *sorted(set("abc") - set(leavers))))
    stream_both_ways(client, server)
    for end in (client, server):
        end.close()


@LEAVERS
def test_bytes_that_nobody_has_read_are_not_lost(node, policy, family, leavers):
    """They were redirected, and wait at the receiver while its pod leaves."""
    client, server = node.connect(family)
    sent = client.pour(UNREAD), server.pour(UNREAD)
    enrol(node, *sorted(set("abc") - set(leavers)))
    assert (server.drain(sent[0]), client.drain(sent[1])) == sent
    client.send(b"after")
    assert server.recv(10) == b"after"
    for end in (client, server):
        end.close()


def test_a_connection_of_two_others_does_not_notice(node, policy, family):
    client, server = node.connect(family, clients="a", servers="b")
    for text in (b"before", b"after"):
        for end, other in ((client, server), (server, client)):
            end.send(text)
            assert other.recv(10) == text
        assert node.paths(client) == [("redirect", None)] * 2
        enrol(node, "a", "b")
    for end in (client, server):
        end.close()
