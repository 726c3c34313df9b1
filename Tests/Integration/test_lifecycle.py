# SPDX-License-Identifier: Apache-2.0
"""Agents that die, pods that come and go, and leaving without a trace. Each test has a node of its own."""

import errno
import os
import socket
import subprocess
import time

import pytest

from harness import manifests
from harness.agent import binary
from harness.kernel import Generation, pins
from harness.manifests import app, network_policy
from harness.meshed import Meshed
from harness.node import UNREAD
from harness.processes import PATIENCE, is_running, spawn
from harness.remote import Peer
from harness.world import eventually

HUNDRED_MEGABYTES = 100 << 20


@pytest.fixture
def node():
    made = Meshed(pods=("a", "b", "c"))
    yield made
    made.remove()


def pinned(agent):
    """Names of everything that is pinned."""
    return sorted(str(path.relative_to(agent.bpffs)) for path in agent.bpffs.rglob("*") if not path.is_dir())


def test_kill_9_breaks_no_connection_and_opens_no_hole(node):
    node.agent.apply(network_policy("b-hears-a", app("b"), ingress=[{"from": [{"podSelector": app("a")}]}]))
    client, server = node.connect()
    pouring = client.start_pour(HUNDRED_MEGABYTES)
    draining = server.start_drain(HUNDRED_MEGABYTES)
    listener = node.server("b", 8080)
    generation = Generation(node.agent)
    before, pins_before = generation.value, pinned(node.agent)

    # The peers were started by an agent that is about to die; new processes need one, so these do the asking.
    node.peer("c")
    node.agent.kill()
    assert draining.result() == [HUNDRED_MEGABYTES, None]
    assert pouring.result() == HUNDRED_MEGABYTES
    assert node.outcome("a", "b", 8080) == "ok"
    assert node.outcome("c", "b", 8080) == "ECONNREFUSED", "policy is enforced without an agent"

    node.agent.start()
    assert generation.value == before, "the restarted agent adopts the generation that is in force"
    assert pinned(node.agent) == pins_before, "nothing leaked, nothing was made anew"
    client.send(b"still the same connection")
    assert server.recv(100) == b"still the same connection"
    assert node.outcome("c", "b", 8080) == "ECONNREFUSED"
    listener.close()
    generation.close()


def test_kill_9_again_and_again_under_traffic(node):
    """No gap in enforcement while agents die and start: pod c asks all the time and never gets in."""
    node.agent.apply(network_policy("b-hears-a", app("b"), ingress=[{"from": [{"podSelector": app("a")}]}]))
    listener = node.server("b", 8080)
    client, server = node.connect()
    node.peer("c")
    sent = 0
    for _ in range(6):
        node.agent.kill()
        sent += client.pour(UNREAD, position=sent)
        assert server.drain(UNREAD, position=sent - UNREAD) == UNREAD
        node.agent.start(wait=False)
        for _ in range(25):
            assert node.outcome("c", "b", 8080) == "ECONNREFUSED"
            assert node.outcome("a", "b", 8080) == "ok"
        node.agent.wait_ready()
    listener.close()


def test_a_policy_change_while_no_agent_ran_is_caught_up(node):
    """The configuration changed while the agent was dead: the restarted one enforces it and cuts what it denies."""
    client, server = node.connect()
    client.send(b"x")
    assert server.recv(1) == b"x"
    pending = server.later("recv", 1).wait_blocked()
    node.agent.kill()
    node.agent.write_config("policy.yaml", network_policy("b-hears-nobody", app("b"), ingress=[]))
    node.agent.start()
    with pytest.raises(OSError) as caught:
        pending.result()
    assert caught.value.errno in (errno.ECONNABORTED, errno.ECONNRESET, errno.EAGAIN)


def test_applied_policy_survives_a_restart(node):
    node.agent.apply(network_policy("b-hears-nobody", app("b"), ingress=[]))
    assert node.agent.stop() == 0
    node.agent.start()
    assert node.outcome("a", "b", 8080) == "ECONNREFUSED"
    assert node.agent.json("policy", "get")[0]["policy"]["name"] == "b-hears-nobody"


@pytest.mark.alone
def test_deleting_a_namespace_under_traffic_frees_its_veth(node):
    """Nothing of ours keeps a namespace alive: not the agent, not a link, not a map."""
    client, server = node.connect()
    client.start_pour(1 << 40)
    server.start_drain(1 << 40)
    # How long it takes the kernel where nobody of ours has been, among all else that it clears away.
    stranger = node.node.add_pod("stranger")
    pod = node.pod("a")
    assert node.node.has_veth_of(pod)
    client.peer.kill()
    node.node.delete_pod("a")
    node.node.delete_pod("stranger")
    eventually(lambda: not node.node.has_veth_of(stranger), what="the end of a veth outside the mesh")
    began = time.monotonic()
    eventually(lambda: not node.node.has_veth_of(pod), what="the end of the veth")
    assert time.monotonic() - began < 1.0
    eventually(lambda: any(w["name"] == "a" and w["redirection"]["state"] == "failed"
                           for w in node.agent.json("workloads")), what="a report that the namespace has gone")
    assert node.outcome("c", "b", 8080) == "ECONNREFUSED"  # nobody listens; the rest of the node works


def test_a_new_pod_with_the_address_of_an_old_one(node):
    """Identity follows the namespace, not the address: the new pod has none of the old one's rights."""
    node.agent.apply(network_policy("b-hears-a", app("b"), ingress=[{"from": [{"podSelector": app("a")}]}]))
    listener = node.server("b", 8080)
    assert node.outcome("a", "b", 8080) == "ok"
    old = node.pod("a")
    node.peer("a").close()
    del node._peers["a"]
    node.node.delete_pod("a")
    eventually(lambda: not node.node.has_veth_of(old), what="the end of the old pod's veth")
    node.node.add_pod("d", index=old.index)
    node.agent.write_config("objects.yaml", *node.pod_objects({}))
    eventually(lambda: any(w["name"] == "d" and w["redirection"]["state"] == "enabled"
                           for w in node.agent.json("workloads")), what="enrolment of d")
    assert node.pod("d").ipv4 == old.ipv4
    assert node.outcome("d", "b", 8080) == "ECONNREFUSED"
    listener.close()


def test_a_running_pod_is_enrolled_and_removed(node):
    """Established connections go on untouched both times; new ones are meshed, then not."""
    node.node.add_pod("d")
    plain = node.pod("d").enter()
    early = Peer(plain, "d")
    listener = node.server("b", 8080)
    old = early.socket(socket.AF_INET, socket.SOCK_STREAM)
    old.connect((node.pod("b").ipv4, 8080))
    server, _ = listener.accept()
    node.agent.write_config("objects.yaml", *node.pod_objects({}))
    eventually(lambda: any(w["name"] == "d" for w in node.agent.json("workloads")), what="d among the workloads")
    old.send(b"old")
    assert server.recv(10) == b"old"
    early.close()
    eventually(lambda: all(w["redirection"]["state"] == "enabled" for w in node.agent.json("workloads")
                           if w["name"] == "d"), what="enrolment of d")
    client, other = node.connect(clients="d", servers="b")
    client.send(b"new")
    assert other.recv(10) == b"new"
    assert node.paths(client)[0][0] == "redirect"
    listener.close()


def test_uninstall_leaves_nothing_and_breaks_nothing(node):
    client, server = node.connect()
    client.send(b"before")
    assert server.recv(10) == b"before"
    places = ["--cgroup", node.agent.cgroup, "--bpffs", node.agent.bpffs, "--state-dir", node.agent.state]
    assert node.agent.ctl("uninstall", "--check", *places, check=False).returncode != 0, "there is something now"
    node.agent.ctl("uninstall", *places)
    eventually(lambda: node.agent.process.poll() is not None, what="the agent's end")
    assert not node.agent.bpffs.exists() or not pinned(node.agent)
    for text in (b"after ", b"uninstall"):
        client.send(text)
    assert server.recv(6) == b"after "
    assert server.recv(100) == b"uninstall"
    stop_peers(node)
    node.agent.ctl("uninstall", *places, check=False)  # the cgroup can go now that its processes have ended
    # Another worker's agent that starts this moment, on a busy machine, can outlast the patience of one check.
    eventually(lambda: node.agent.ctl("uninstall", "--check", *places, check=False).returncode == 0,
               what="a check that finds nothing")


def stop_peers(node):
    for peer in node._peers.values():
        peer.close()
    node._peers.clear()


def test_uninstall_drains_redirected_bytes(node):
    """Bytes that were redirected and not read yet are not lost by the removal."""
    client, server = node.connect()
    sent = client.pour(UNREAD)
    words = ["uninstall", "--cgroup", node.agent.cgroup, "--bpffs", node.agent.bpffs]
    removing = subprocess.Popen([str(word) for word in node.agent.ctl_argv(*words)], stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)
    assert server.drain(sent) == sent
    assert removing.wait(PATIENCE) == 0, removing.stderr.read()
    removing.stderr.close()
    client.send(b"end")
    assert server.recv(10) == b"end"


def test_a_stopped_agent_leaves_the_mesh_on(node):
    node.agent.apply(network_policy("b-hears-nobody", app("b"), ingress=[]))
    node.peer("a")
    assert node.agent.stop() == 0
    assert not is_running(node.agent.process.pid)
    assert node.outcome("a", "b", 8080) == "ECONNREFUSED"
    assert os.listdir(pins(node.agent, "links"))


def test_killed_in_the_middle_of_a_change(node):
    """kill -9 at several moments of an apply: the next agent starts, and what it says is what the kernel does."""
    listener = node.server("b", 8080)
    node.peer("c")
    for number in range(6):
        words = ["policy", "apply", "--socket", node.agent.socket, "-f", "-"]
        applying = spawn(binary("meshctl"), *words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, text=True)
        applying.stdin.write(manifests.text(network_policy("flip", app("b"), ingress=[{}] if number % 2 else [])))
        applying.stdin.close()
        time.sleep(0.003 * number)
        node.agent.kill()
        applying.wait(PATIENCE)
        assert node.outcome("c", "b", 8080) in ("ok", "ECONNREFUSED")
        node.agent.start()
        verdict = node.agent.json("policy", "explain", "test/c", "test/b:8080")["verdict"]
        assert node.outcome("c", "b", 8080) == {"allow": "ok", "deny": "ECONNREFUSED"}[verdict]
    listener.close()
