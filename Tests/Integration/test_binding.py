# SPDX-License-Identifier: Apache-2.0
"""A Pod object that names a process, not a namespace: `sockmesh.io/pid`."""

import os

import pytest

from harness.manifests import app, network_policy
from harness.meshed import Meshed
from harness.processes import spawn, stop
from harness.world import eventually


@pytest.fixture
def node():
    made = Meshed(pods=("a", "b"))
    yield made
    made.remove()


@pytest.fixture
def resident(node):
    """resident(pod) is a process that lives in a pod and does nothing. In the hooked cgroup: a pod with a process outside
    of it is failed as soon as that is found."""
    processes = []

    def start(name):
        pod = node.pod(name)
        processes.append(spawn(*node.agent.runtime_argv(pod, "sleep", "1000")))
        link = f"/proc/{processes[-1].pid}/ns/net"
        eventually(lambda: os.path.samefile(link, pod.path), what=f"a process in the namespace of {name}")
        return processes[-1]
    yield start
    for process in processes:
        stop(process)


def bind(node, name, pid):
    """Binds a pod to a process, the others as before."""
    objects = node.pod_objects({})
    for item in objects:
        if (item["kind"], item["metadata"]["name"]) == ("Pod", name):
            annotations = item["metadata"]["annotations"]
            del annotations["sockmesh.io/netns"]
            annotations["sockmesh.io/pid"] = str(pid)
    node.agent.write_config("objects.yaml", *objects)


def workload(node, name):
    return next((one for one in node.agent.json("workloads") if one["name"] == name), None)


def wait_for(node, name, state, pid):
    def reached():
        report = workload(node, name)
        there = report and (report["netns"], report["redirection"]["state"]) == (f"/proc/{pid}/ns/net", state)
        return there and report
    try:
        return eventually(reached, what=f"{name} {state} by process {pid}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {workload(node, name)}\n{node.agent.log_tail(40)}") from error


def test_a_pod_of_a_process_is_in_the_mesh(node, resident, family):
    node.node.add_pod("d")
    process = resident("d")
    bind(node, "d", process.pid)
    wait_for(node, "d", "enabled", process.pid)
    client, server = node.connect(family, clients="d", servers="b")
    client.send(b"hello")
    assert server.recv(10) == b"hello"
    assert node.paths(client)[0] == ("redirect", None)
    node.agent.apply(network_policy("b-hears-a", app("b"), ingress=[{"from": [{"podSelector": app("a")}]}]))
    listener = node.server("b", 8080, family)
    assert node.outcome("d", "b", 8080, family) == "ECONNREFUSED"
    assert node.outcome("a", "b", 8080, family) == "ok"
    listener.close()


def test_another_process_of_the_same_pod(node, resident):
    """A container that started again: the namespace is the same, and so are its connections."""
    first, second = resident("a"), resident("a")
    bind(node, "a", first.pid)
    cookie = wait_for(node, "a", "enabled", first.pid)["netnsCookie"]
    client, server = node.connect()
    client.send(b"one")
    assert server.recv(10) == b"one"
    bind(node, "a", second.pid)
    assert wait_for(node, "a", "enabled", second.pid)["netnsCookie"] == cookie
    stop(first)
    client.send(b"two")
    assert server.recv(10) == b"two"
    assert node.paths(client)[0] == ("redirect", None)


def test_a_process_that_is_not_there(node, resident):
    process = resident("a")
    stop(process)
    bind(node, "a", process.pid)
    reason = wait_for(node, "a", "failed", process.pid)["redirection"]["reason"]
    assert f"/proc/{process.pid}/ns/net does not exist" in reason


def test_a_process_of_the_node_is_no_pod(node):
    """The agent's own namespace is the node's: nobody becomes a pod by naming it."""
    bind(node, "a", node.agent.process.pid)
    reason = wait_for(node, "a", "failed", node.agent.process.pid)["redirection"]["reason"]
    assert "node's own network namespace" in reason


def test_a_process_of_another_pod_does_not_have_its_address(node, resident):
    process = resident("b")
    bind(node, "a", process.pid)
    reason = wait_for(node, "a", "failed", process.pid)["redirection"]["reason"]
    assert node.pod("a").ipv4 in reason
