# SPDX-License-Identifier: Apache-2.0
"""Several agents on one machine: as two nodes side by side, or refused because they overlap."""

import subprocess

import pytest

from harness.manifests import app, network_policy
from harness.meshed import Meshed
from harness.processes import PATIENCE, spawn


@pytest.fixture
def node():
    made = Meshed(pods=("a", "b"))
    yield made
    made.remove()


def refused(agent, argv):
    """Starts an agent that must end by itself; (exit code, what it said)."""
    process = spawn(*agent.node.enter(*argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, output


def replaced(argv, **values):
    """The command line with other values of some flags."""
    words = [str(word) for word in argv]
    for name, value in values.items():
        words[words.index("--" + name.replace("_", "-")) + 1] = str(value)
    return words


@pytest.mark.parametrize("what", ["the same everything", "the same pins", "the same cgroup", "a cgroup below",
                                  "a cgroup above"])
def test_an_overlapping_agent_refuses_to_start(node, tmp_path, what):
    agent = node.agent
    other = {"node": f"{node.node.id}-x", "state_dir": tmp_path / "state", "socket": tmp_path / "x.sock"}
    changes = {
        "the same everything": {},
        "the same pins": {**other, "cgroup": f"{agent.cgroup}-x"},
        "the same cgroup": {**other, "bpffs": f"{agent.bpffs}-x"},
        "a cgroup below": {**other, "bpffs": f"{agent.bpffs}-x", "cgroup": agent.cgroup / "pods"},
        "a cgroup above": {**other, "bpffs": f"{agent.bpffs}-x", "cgroup": agent.cgroup.parent},
    }[what]
    status, output = refused(agent, replaced(agent.argv(), **changes))
    assert status not in (0, None) and status > 0, output
    named = (agent.cgroup, agent.bpffs, agent.socket, agent.state, agent.cgroup.parent)
    assert any(str(path) in output for path in named), output
    assert "Fatal error" not in output
    client, server = node.connect()
    client.send(b"undisturbed")
    assert server.recv(100) == b"undisturbed"


def test_two_agents_are_two_nodes(node):
    """Each polices its own pods; the other's pods are strangers to it."""
    second = Meshed(pods=("a", "b"))
    try:
        for world in (node, second):
            world.agent.apply(network_policy("b-hears-nobody", app("b"), ingress=[]))
        second.agent.delete(network_policy("b-hears-nobody", app("b"), ingress=[]))
        listeners = [world.server("b", 8080) for world in (node, second)]
        assert node.outcome("a", "b", 8080) == "ECONNREFUSED"
        assert second.outcome("a", "b", 8080) == "ok"
        for world in (node, second):
            names = {(w["namespace"], w["name"], w["node"]) for w in world.agent.json("workloads")}
            assert names == {("test", "a", world.node.id), ("test", "b", world.node.id)}
        second.agent.kill()
        assert node.outcome("a", "b", 8080) == "ECONNREFUSED"
        for listener in listeners:
            listener.close()
    finally:
        second.remove()


def test_an_unwritable_state_directory(node, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a directory")
    agent = node.agent
    status, output = refused(agent, replaced(
        agent.argv(), node=f"{node.node.id}-y", cgroup=f"{agent.cgroup}-y", bpffs=f"{agent.bpffs}-y",
        state_dir=blocker / "state", socket=tmp_path / "y.sock"))
    assert status not in (0, None) and status > 0
    assert str(blocker) in output and "Fatal error" not in output


def test_without_privileges(node, tmp_path):
    """Not root: one precise sentence and an exit code, before anything was made."""
    argv = replaced(node.agent.argv(), node=f"{node.node.id}-z", cgroup=f"{node.agent.cgroup}-z",
                    bpffs=f"{node.agent.bpffs}-z", state_dir=tmp_path / "state", socket=tmp_path / "z.sock")
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *argv],
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode > 0
    assert "root" in done.stderr.lower() or "privilege" in done.stderr.lower() or "permi" in done.stderr.lower()
