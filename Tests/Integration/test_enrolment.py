# SPDX-License-Identifier: Apache-2.0
"""Who is enrolled and who is not: a pod under policy cannot shed it, and one that is not in force does not leak."""

import os
import select
import signal
import time

import pytest

from harness.manifests import app, network_policy
from harness.meshed import Meshed
from harness.processes import PATIENCE, run, spawn
from harness.remote import Peer
from harness.world import eventually

PORT = 8080
NOT_STARTED = 125
A_SENDS_NOTHING = network_policy("a-sends-nothing", app("a"), egress=[])


@pytest.fixture
def node():
    made = Meshed(pods=("a", "b"))
    yield made
    made.remove()


def workload(node, name):
    return next((w for w in node.agent.json("workloads", "--all") if w["name"] == name), None)


def redirection(node, name, state):
    """Waits for a state; its reason."""
    def reached():
        found = workload(node, name)
        return found and found["redirection"]["state"] == state and (found["redirection"].get("reason") or "none")
    return eventually(reached, what=f"{name} {state}")


def watch(node, expected, seconds, *attempt):
    """An attempt, again and again for some time: each must end as expected."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert node.outcome(*attempt) == expected
        time.sleep(0.02)


def stray(node, pod):
    """A process in the pod's namespace and in the node's hooked cgroup."""
    return Peer(node.agent.runtime_argv(pod), pod.name)


def test_an_address_taken_from_the_interface_sheds_no_policy(node):
    """Root in a pod removes its own address: the agent can no longer vouch for the pod, and lets go of nothing."""
    listener = node.server("b", PORT)
    node.agent.apply(A_SENDS_NOTHING)
    assert node.outcome("a", "b", PORT) == "EPERM"
    pod = node.pod("a")
    run(*pod.enter("ip", "-6", "addr", "del", f"{pod.ipv6}/64", "dev", "eth0"))
    watch(node, "EPERM", 6, "a", "b", PORT)
    reason = redirection(node, "a", "failed")
    assert pod.ipv6 in reason and "stays in force" in reason
    status = node.agent.json("status")
    assert not status["ready"] and any("test/a" in line and "stays in force" in line for line in status["notReady"])
    run(*pod.enter("ip", "addr", "add", f"{pod.ipv6}/64", "dev", "eth0", "nodad"))
    redirection(node, "a", "enabled")
    assert node.outcome("a", "b", PORT) == "EPERM"
    listener.close()


def test_a_namespace_without_a_name_sheds_no_policy(node):
    """The file of a namespace goes while processes run in it: theirs is the policy until the last one has ended."""
    listener = node.server("b", PORT)
    node.agent.apply(A_SENDS_NOTHING)
    assert node.outcome("a", "b", PORT) == "EPERM"
    run("ip", "netns", "delete", node.pod("a").netns)
    assert "stays in force" in redirection(node, "a", "failed")
    watch(node, "EPERM", 3, "a", "b", PORT)
    # An agent that starts now cannot look into it either.
    node.agent.kill()
    node.agent.start(wait=False)
    eventually(lambda: node.outcome("a", "b", PORT) == "EPERM" and
               node.agent.ctl("status", check=False).returncode == 0, what="the new agent")
    watch(node, "EPERM", 2, "a", "b", PORT)
    assert "refused everything" in redirection(node, "a", "failed"), "its address is no proof of who it is"
    node.peer("a").close()
    del node._peers["a"]
    eventually(lambda: "refused" not in redirection(node, "a", "failed"), what="the end of the namespace")
    listener.close()


def test_a_pod_that_is_not_fit_does_not_leak(node):
    """Its object says an address that it does not have. Nothing of it is let out or in, and nothing started in it."""
    listener = node.server("b", PORT)
    pod = node.node.add_pod("d")
    wrong = node.pod_object("d")
    wrong["status"]["podIPs"][0]["ip"] = wrong["status"]["podIP"] = "10.81.7.7"
    node.agent.write_config("d.yaml", wrong)
    assert "10.81.7.7" in redirection(node, "d", "failed")
    inside = stray(node, pod)
    node._peers["d"] = inside
    assert node.outcome("d", "b", PORT) == "EPERM"
    assert node.outcome("d", "b", PORT, 6) == "EPERM"
    node.denial(PORT, "not-ready")
    server = node.server("d", PORT)
    assert node.outcome("a", "d", PORT) == "ECONNREFUSED"
    assert server.poll(select.POLLIN, 100) == 0

    started = time.monotonic()
    done = node.agent.ctl("run", "--timeout", "1s", "--pod", "test/d", "--", "echo", "started", check=False)
    assert done.returncode == NOT_STARTED and "started" not in done.stdout
    assert "test/d" in done.stderr and "10.81.7.7" in done.stderr
    assert time.monotonic() - started > 0.9

    waiting = spawn(*node.agent.run_argv(pod, "true"))
    assert node.outcome("d", "b", PORT) == "EPERM"
    node.agent.write_config("d.yaml", node.pod_object("d"))
    redirection(node, "d", "enabled")
    assert waiting.wait(PATIENCE) == 0, "meshctl run waits until the pod is enrolled"
    assert node.outcome("d", "b", PORT) == "ok"
    assert node.outcome("a", "d", PORT) == "ok"
    server.close()
    listener.close()


def test_run_waits_for_a_namespace_that_is_being_made(node):
    done = node.agent.ctl("run", "--timeout", "300ms", "--pod", "test/nobody", "--", "true", check=False)
    assert done.returncode == NOT_STARTED and "nobody" in done.stderr
    pod = node.node.add_pod("d")
    run("ip", "netns", "delete", pod.netns)
    node.agent.write_config("d.yaml", node.pod_object("d"))
    assert "does not exist" in redirection(node, "d", "failed")
    done = node.agent.ctl("run", "--timeout", "300ms", "--pod", "test/d", "--", "true", check=False)
    assert done.returncode == NOT_STARTED and "does not exist" in done.stderr


def test_a_process_outside_the_cgroup_is_a_failure_that_is_seen(node):
    """Its pod is failed, the node not ready; the pod's other processes stay under policy, and it ends with the process."""
    listener = node.server("b", PORT)
    node.agent.apply(A_SENDS_NOTHING)
    assert node.outcome("a", "b", PORT) == "EPERM"
    outside = spawn(*node.pod("a").enter("sleep", "600"))
    try:
        reason = redirection(node, "a", "failed")
        assert str(outside.pid) in reason and "cgroup" in reason and "stays in force" in reason
        status = node.agent.json("status")
        assert not status["ready"] and any(str(outside.pid) in line for line in status["notReady"])
        assert status["workloads"] == {"enabled": 1, "pending": 0, "failed": 1}
        assert node.agent.ctl("status", "--wait", "--timeout", "300ms", check=False).returncode != 0
        assert node.outcome("a", "b", PORT) == "EPERM"
        # What is started by meshctl is under policy whatever else runs there.
        done = node.agent.ctl("run", "--pod", "test/a", "--", "true")
        assert str(outside.pid) in done.stderr
    finally:
        os.kill(outside.pid, signal.SIGKILL)
        outside.wait()
    node.agent.ctl("status", "--wait")
    assert node.outcome("a", "b", PORT) == "EPERM"
    listener.close()
