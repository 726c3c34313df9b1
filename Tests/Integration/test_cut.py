# SPDX-License-Identifier: Apache-2.0
"""A live connection that policy denies from now on: both ends get an error within 20 ms, nothing else is disturbed."""

import errno
import os
import socket
import statistics

import pytest

from harness.cuts import ERRORS, EVERYBODY, ONLY_C, cut
from harness.kernel import Generation
from harness.manifests import app, network_policy
from harness.world import fastest

# The promise is 20 ms of a release build (scripts/bench/cut.py); the debug build that the tests usually run takes about
# twice as long.
LIMIT_SECONDS = 0.020 if os.environ.get("MESH_BUILD", "debug").endswith("release") else 0.040
ROUNDS, CONNECTIONS = 8, 15


@pytest.mark.alone
@pytest.mark.parametrize("activity", ["active", "idle"])
def test_both_ends_of_denied_connections_fail_within_20_ms(meshed, policies, family, activity):
    """From the flip of the generation word to the failing call, p99."""
    generation = Generation(meshed.agent)

    def worse_end():
        delays = {"client": [], "server": []}
        for _ in range(ROUNDS):
            for name, values in cut(meshed, policies, generation, family, activity, CONNECTIONS).items():
                delays[name] += values
        ends = []
        for name, values in delays.items():
            values.sort()
            ends.append(values[int(len(values) * 0.99)])
            print(f"{activity} {name}: median {statistics.median(values) * 1000:.2f} ms, p99 {ends[-1] * 1000:.2f} ms")
        return max(ends)
    p99 = fastest(worse_end, LIMIT_SECONDS, times=3)
    generation.close()
    assert p99 < LIMIT_SECONDS, f"p99 {p99 * 1000:.1f} ms"


def test_nothing_else_is_disturbed(meshed, policies, family):
    """Connections that the change still allows go on and lose no byte."""
    policies(EVERYBODY)
    kept_client, kept_server = meshed.connect(family, clients="c", servers="b")
    other_client, other_server = meshed.connect(family, clients="a", servers="c")
    cut_client, cut_server = meshed.connect(family, clients="a", servers="b")
    for client, server in ((other_client, other_server), (cut_client, cut_server)):
        client.send(b"before")
        assert server.recv(10) == b"before"
    pouring = kept_client.start_pour(30 << 20)
    draining = kept_server.start_drain(30 << 20)
    policies(ONLY_C)
    assert draining.result() == [30 << 20, None]
    assert pouring.result() == 30 << 20
    other_client.send(b"after")
    assert other_server.recv(10) == b"after"
    for end in (cut_client, cut_server):
        with pytest.raises(OSError) as caught:
            end.recv(1)
            end.send(b"x")
        assert caught.value.errno in ERRORS | {errno.EAGAIN}
    cuts = [event for event in meshed.agent.json("flows") if event["kind"] == "cut"]
    assert cuts and cuts[-1]["source"]["workload"] == "test/a"


def test_a_change_that_still_allows_keeps_the_redirect(meshed, policies):
    client, server = meshed.connect(clients="a", servers="b")
    for text, policy in ((b"one", EVERYBODY), (b"two", network_policy("cut", app("b"), ingress=[
            {"from": [{"podSelector": {}}]}])), (b"three", EVERYBODY)):
        client.send(text)
        assert server.recv(10) == text
        assert meshed.paths(client)[0] == ("redirect", None)
        policies(policy)


def test_an_egress_change_cuts_too(meshed, policies):
    client, server = meshed.connect(clients="a", servers="b")
    client.send(b"x")
    assert server.recv(1) == b"x"
    pending = server.later("recv", 1).wait_blocked()
    policies(network_policy("silence", app("a"), egress=[]))
    with pytest.raises(OSError) as caught:
        pending.result()
    assert caught.value.errno in ERRORS | {errno.EAGAIN}


@pytest.mark.alone
def test_a_thousand_connections_are_cut_in_a_moment(meshed, policies):
    """Both ends of each are targets, and the second has always ended by the first: looking for it must cost nothing,
    or a pod with many connections keeps the agent from everything else."""
    policies(EVERYBODY)
    count = 1000
    listener, address = meshed.listen("b")
    holder = meshed.peer("a", fresh=True)
    holder.do("limit_descriptors", count + 100)
    assert holder.do("hold", socket.AF_INET, address, count) == [count, 0]
    before = meshed.agent.cpu_seconds()
    policies(ONLY_C)
    spent = meshed.agent.cpu_seconds() - before
    print(f"{spent:.2f} s of processor time for {count} connections")
    assert spent < 2
    cuts = [event for event in meshed.agent.json("flows") if event["kind"] == "cut"
            and event["destination"]["port"] == address[1]]
    assert len({event["source"]["port"] for event in cuts}) == count
    holder.close()
    listener.close()


def test_a_socket_bound_to_a_device_is_cut(meshed, policies, family):
    """The kernel finds it only if the device is named. The other end is outside the mesh: nothing else ends it."""
    policies(network_policy("a-asks", app("a"), egress=[{}]))
    client, server = meshed.connect(family, client_options=[(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")],
                                    servers="u")
    client.send(b"x")
    assert server.recv(1) == b"x"
    pending = client.later("recv", 1).wait_blocked()
    policies(network_policy("a-asks", app("a"), egress=[{"to": [{"podSelector": app("c")}]}]))
    with pytest.raises(ConnectionAbortedError):
        pending.result()
    for end in (client, server):
        end.close()
