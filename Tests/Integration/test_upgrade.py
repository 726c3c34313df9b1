# SPDX-License-Identifier: Apache-2.0
"""An agent with another map layout takes over: nothing breaks, nothing slips through, and the old layout goes."""

import subprocess
import threading
import time

import pytest

from harness.manifests import app, network_policy
from harness.meshed import Meshed
from harness.node import UNREAD
from harness.processes import PATIENCE, run, stop
from harness.remote import PeerFailed
from harness.world import eventually

# What else the machine does would show in its times or counts.
pytestmark = pytest.mark.alone

PORT = 8080


@pytest.fixture
def node():
    made = Meshed(pods=("a", "b", "c"))
    yield made
    made.remove()


def versions(agent):
    return sorted(entry.name for entry in agent.bpffs.iterdir())


def become_old(agent):
    """What is pinned now looks as if an agent of another layout had left it. Its name."""
    (current,) = versions(agent)
    old = f"v{int(current[1:]) + 40}"
    (agent.bpffs / current).rename(agent.bpffs / old)
    return current, old


ACCEPTING = """
import socket
listener = socket.create_server(("", %d), backlog=1024)
print("ready", flush=True)
while True:
    listener.accept()[0].close()
"""


@pytest.fixture
def server(node):
    """A server in pod b that accepts and closes: what nobody accepts is never read, and then its sockhash stays."""
    process = node.spawn("b", "/usr/bin/python3", "-c", ACCEPTING % PORT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    yield
    stop(process)


class Asking(threading.Thread):
    """Attempts one connection after the other; notes every outcome that is not the expected one."""

    def __init__(self, node, expected, source, destination, port):
        super().__init__(daemon=True)
        self._node, self._expected, self._attempt = node, expected, (source, destination, port)
        self._ending = threading.Event()
        self.count, self.wrong = 0, []
        self.start()

    def run(self):
        try:
            while not self._ending.is_set():
                outcome = self._node.outcome(*self._attempt)
                self.count += 1
                if outcome != self._expected:
                    self.wrong.append((self.count, time.monotonic(), outcome))
        except (PeerFailed, TimeoutError) as error:
            self.wrong.append((self.count, time.monotonic(), error))

    def end(self):
        self._ending.set()
        self.join(PATIENCE)
        return self.wrong


def test_a_new_layout_takes_over_under_traffic(node, server):
    """Streams that were redirected go on, whole; c never gets in and a always does; the old layout's pins go."""
    node.agent.apply(network_policy("b-hears-a", app("b"), ingress=[{"from": [{"podSelector": app("a")}]}]))
    client, far = node.connect()
    client.send(b"redirected")
    assert far.recv(100) == b"redirected"
    assert node.paths(client)[0][0] == "redirect"
    unread, reader = node.connect()
    position = unread.pour(UNREAD // 2)
    node.peer("c")  # started while there is an agent
    allowed, denied = Asking(node, "ok", "a", "b", PORT), Asking(node, "ECONNREFUSED", "c", "b", PORT)
    node.agent.kill()
    current, old = become_old(node.agent)
    total = 256 << 20
    pouring, draining = client.start_pour(total), far.start_drain(total)
    node.agent.start()
    assert all(w["redirection"]["state"] == "enabled" for w in node.agent.json("workloads"))
    assert draining.result() == [total, None]
    assert pouring.result() == total
    eventually(lambda: not any((node.agent.bpffs / old / "links").iterdir()), what="the end of the old programs")
    time.sleep(1.5)
    assert (node.agent.bpffs / old).exists(), "bytes wait unread in the old sockhash"
    assert unread.pour(UNREAD // 2, position=position) == UNREAD // 2
    assert reader.drain(UNREAD) == UNREAD
    eventually(lambda: versions(node.agent) == [current], what="the end of the old layout")
    assert allowed.end() == [] and allowed.count > 20
    assert denied.end() == [] and denied.count > 20
    # New connections are redirected by the new layout; those of the old one went to TCP and live.
    fresh, other = node.connect()
    fresh.send(b"new")
    assert other.recv(10) == b"new"
    assert node.paths(fresh)[0][0] == "redirect"
    for end, other in ((client, far), (unread, reader)):
        end.send(b"end")
        assert other.recv(10) == b"end"


def test_a_takeover_that_was_interrupted_is_finished(node, server):
    """The new agent dies at some moment of the change of layout; the next one ends it. Policy holds all the time."""
    node.agent.apply(network_policy("b-hears-a", app("b"), ingress=[{"from": [{"podSelector": app("a")}]}]))
    node.peer("a"), node.peer("c")
    denied = Asking(node, "ECONNREFUSED", "c", "b", PORT)
    for delay in (0.4, 1.0):
        node.agent.kill()
        current, _ = become_old(node.agent)
        node.agent.start(wait=False)
        time.sleep(delay)
        node.agent.kill()
        node.agent.start()
        eventually(lambda: versions(node.agent) == [current], what="the end of the old layout")
        assert node.outcome("a", "b", PORT) == "ok"
    assert denied.end() == []


def test_a_pod_that_the_new_agent_cannot_see_stays_under_the_old_layout(node, server):
    """Its namespace has lost its file: only the old layout's programs police it, so they stay."""
    node.agent.apply(network_policy("a-sends-nothing", app("a"), egress=[]))
    assert node.outcome("a", "b", PORT) == "EPERM"
    node.agent.kill()
    current, old = become_old(node.agent)
    run("ip", "netns", "delete", node.pod("a").netns)
    node.agent.start(wait=False)
    both = sorted([current, old])

    def taken_over():
        assert node.outcome("a", "b", PORT) == "EPERM"
        return versions(node.agent) == both and old in node.agent.ctl("status", check=False).stdout
    eventually(taken_over, what="a report of the old layout")
    deadline = time.monotonic() + 3  # it tries to take over each second
    while time.monotonic() < deadline:
        assert node.outcome("a", "b", PORT) == "EPERM"
    assert versions(node.agent) == both
    node.peer("a").close()
    del node._peers["a"]
    eventually(lambda: versions(node.agent) == [current], what="the end of the old layout")
