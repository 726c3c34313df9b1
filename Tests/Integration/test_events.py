# SPDX-License-Identifier: Apache-2.0
"""Flow events under load: each pod's own budget, what is lost is counted, and nobody else's are lost with it."""

import collections
import errno
import signal
import socket
import time

import pytest

from harness.manifests import app, network_policy
from harness.world import eventually, family_number

# What else the machine does would show in its times or counts.
pytestmark = pytest.mark.alone

# Of ControlParameters: events a second, of which openings and closings get half.
BUDGET = 200
# Events that fit in the ring buffer: 1 MiB, 152 bytes each and 8 of the buffer's own.
RING = (1 << 20) // 160
PODS = ("a", "b", "c", "o")


def workload(meshed, name):
    return next(one for one in meshed.agent.json("workloads") if one["name"] == name)


def refused(meshed, name, port, count, family=4):
    """Connects that policy refuses; how long they took together."""
    started = time.monotonic()
    outcomes = meshed.peer(name).do("attempts", family_number(family), socket.SOCK_STREAM,
                                    (meshed.pod("b").address(family), port), count)
    assert {status for status, _ in outcomes} == {errno.ECONNREFUSED}
    return time.monotonic() - started


def denials_by_pod(meshed, port):
    return collections.Counter(event["source"]["workload"] for event in meshed.denials(port))


@pytest.fixture
def nobody(policies):
    """Nobody may connect to b or c."""
    policies(network_policy("b-hears-nobody", app("b"), ingress=[]),
             network_policy("c-hears-nobody", app("c"), ingress=[]))


def test_a_busy_pod_loses_its_own_events_and_no_other(meshed, nobody, family):
    port, count = 8500 + family, 2000
    time.sleep(1.1)  # a second that nothing of this pod's has begun
    before = workload(meshed, "a")
    quiet = workload(meshed, "c")["lostEvents"]
    seconds = refused(meshed, "a", port, count, family)
    refused(meshed, "c", port, 3, family)
    eventually(lambda: denials_by_pod(meshed, port)["test/c"] == 3, what="the events of the quiet pod")
    arrived = denials_by_pod(meshed, port)["test/a"]
    after = workload(meshed, "a")
    assert after["connections"]["denied"] - before["connections"]["denied"] == count, "all verdicts count"
    assert after["lostEvents"] - before["lostEvents"] == count - arrived, "what did not arrive is counted as lost"
    assert BUDGET <= arrived <= BUDGET * (2 + int(seconds))
    assert workload(meshed, "c")["lostEvents"] == quiet
    row = next(line for line in meshed.agent.ctl("workloads").stdout.splitlines() if line.startswith("test/a "))
    assert row.split()[-1] == str(after["lostEvents"])


def test_openings_leave_room_for_refusals(meshed, policies):
    """Half of the budget is for refusals: a busy server or client has its own explained."""
    port = 8510
    time.sleep(1.1)  # a second that nothing of this pod's has begun
    before = workload(meshed, "a")["lostEvents"]
    policies(network_policy("a-asks", app("a"), egress=[{"ports": [{"protocol": "TCP", "port": port}]}]))
    peer = meshed.peer("b", fresh=True)
    try:
        listener, address = meshed.listen("b", port=port, peer=peer)
        peer.start("accept_all", listener)
        started = time.monotonic()
        outcomes = meshed.peer("a").do("attempts", socket.AF_INET, socket.SOCK_STREAM, address, 2 * BUDGET)
        assert {status for status, _ in outcomes} == {0}
        denied = meshed.peer("a").do("attempts", socket.AF_INET, socket.SOCK_STREAM, (address[0], port + 1), 5)
        seconds = time.monotonic() - started
        assert {status for status, _ in denied} == {errno.EPERM}
        eventually(lambda: denials_by_pod(meshed, port + 1)["test/a"] == 5, what="the refusals")
        assert workload(meshed, "a")["lostEvents"] > before
        reported = [event for event in meshed.agent.json("flows", "--verdict", "allowed")
                    if event["reporter"] == "test/a" and event["destination"]["port"] == port]
        assert BUDGET // 2 <= len(reported) <= BUDGET // 2 * (2 + int(seconds))
    finally:
        peer.close()


def test_a_cut_is_reported_whatever_was_lost(meshed, policies):
    client, server = meshed.connect(clients="a", servers="b")
    client.send(b"x")
    assert server.recv(1) == b"x"
    address, port = client.getsockname()
    policies(network_policy("a-asks-c", app("a"), egress=[{"to": [{"podSelector": app("c")}]}]))
    # Refusals use up what the pod has for this second and the next, while the cut is on its way.
    meshed.peer("a").do("attempts", socket.AF_INET, socket.SOCK_STREAM, (meshed.pod("b").ipv4, 8520), 3 * BUDGET)
    eventually(lambda: [event for event in meshed.agent.json("flows") if event["kind"] == "cut"
                        and (event["source"]["address"], event["source"]["port"]) == (address, port)],
               what="the event of the cut")


def test_what_a_full_buffer_loses_is_counted(meshed, nobody):
    """The agent stands still; no pod goes over its budget, so that all that is lost is lost for want of room."""
    port, batch = 8530, BUDGET - 10
    peers = {name: meshed.peer(name) for name in PODS}  # an agent that stands still starts none
    before = {name: workload(meshed, name) for name in PODS}
    sent = 0
    meshed.agent.process.send_signal(signal.SIGSTOP)
    try:
        while sent * len(PODS) < RING + 2 * batch * len(PODS):
            due = time.monotonic() + 1.05  # the budget's second has passed for every pod
            running = [peer.start("attempts", socket.AF_INET, socket.SOCK_STREAM,
                                  (meshed.pod("c" if name == "b" else "b").ipv4, port), batch)
                       for name, peer in peers.items()]
            for one in running:
                one.result()
            sent += batch
            time.sleep(max(0, due - time.monotonic()))
    finally:
        meshed.agent.process.send_signal(signal.SIGCONT)
    after = {name: workload(meshed, name) for name in PODS}
    lost = {name: after[name]["lostEvents"] - before[name]["lostEvents"] for name in PODS}
    for name in PODS:
        assert after[name]["connections"]["denied"] - before[name]["connections"]["denied"] == sent, name
    assert sum(lost.values()) >= batch, "the buffer was never full"

    def arrived_or_lost():
        arrived = denials_by_pod(meshed, port)
        return {name: arrived[f"{meshed.namespace_of(name)}/{name}"] + lost[name] for name in PODS}
    eventually(lambda: arrived_or_lost() == dict.fromkeys(PODS, sent), what="an account of every event")
    refused(meshed, "a", port + 1, 1)
    eventually(lambda: meshed.denials(port + 1), what="events after the loss")
