# SPDX-License-Identifier: Apache-2.0
"""What meshctl applies outlives the agent before it is durable, and a disk that fails is told."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from harness.agent import binary
from harness.manifests import app, network_policy, service, text
from harness.meshed import Meshed
from harness.processes import PATIENCE, CommandFailed, spawn
from harness.world import eventually

FAILING = Path(__file__).parent / "harness/failing_fsync.c"
DEAF = network_policy("b-hears-nobody", app("b"), ingress=[])
MUTE = network_policy("a-says-nothing", app("a"), egress=[])


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory):
    """A library that makes fsync fail on demand, made by the toolchain's own compiler."""
    library = tmp_path_factory.mktemp("fsync") / "failing_fsync.so"
    beside = Path(shutil.which("swift")).resolve().parent / "clang"
    compiler = beside if beside.exists() else "clang"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, FAILING], check=True, timeout=PATIENCE)
    return library


@pytest.fixture
def node(preloaded, tmp_path):
    made = Meshed(pods=("a", "b"), starts=False)
    try:
        made.disk_fails, made.disk_is_slow = tmp_path / "disk-fails", tmp_path / "disk-is-slow"
        made.agent.environment = {"LD_PRELOAD": preloaded, "FAILING_FSYNC": made.disk_fails, "SLOW_FSYNC": made.disk_is_slow}
        made.agent.start()
        yield made
    finally:
        made.remove()


def start_applying(node, policy):
    words = [binary("meshctl"), "policy", "apply", "--socket", node.agent.socket, "-f", "-"]
    process = spawn(*words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    process.stdin.write(text(policy))
    process.stdin.close()
    return process


def names(node):
    return {policy["policy"]["name"] for policy in node.agent.json("policy", "get")}


def test_a_disk_that_fails_is_told_and_tried_again(node):
    listener = node.server("b", 8080)
    assert node.outcome("a", "b", 8080) == "ok"
    node.disk_fails.touch()
    with pytest.raises(CommandFailed) as failure:
        node.agent.apply(DEAF)
    assert "in force as generation" in str(failure.value) and "fsync" in str(failure.value)
    assert "Input/output error" in str(failure.value) and "nothing was changed" not in str(failure.value)
    assert node.outcome("a", "b", 8080) == "ECONNREFUSED", "what is said to be in force is"
    assert any("failure of power" in reason for reason in node.agent.json("status")["notReady"])

    generation = node.agent.json("status")["generation"]
    with pytest.raises(CommandFailed, match="nothing was changed"):
        node.agent.apply(MUTE)
    assert names(node) == {"b-hears-nobody"} and node.agent.json("status")["generation"] == generation

    node.disk_fails.unlink()
    eventually(lambda: not node.agent.json("status")["notReady"])
    node.agent.apply(MUTE)
    assert names(node) == {"b-hears-nobody", "a-says-nothing"}
    listener.close()


def test_only_who_wants_it_durable_waits_for_a_slow_disk(node):
    listener = node.server("b", 8080)
    assert node.outcome("a", "b", 8080) == "ok"
    generation = node.agent.json("status")["generation"]
    node.disk_is_slow.touch()
    applying = [start_applying(node, DEAF)]
    try:
        eventually(lambda: node.outcome("a", "b", 8080) == "ECONNREFUSED", what="the policy")
        # Others are answered, and so is the directory read: requests hang on this loop.
        assert node.agent.json("status")["generation"] == generation + 1
        node.agent.write_config("service.yaml", service("web", {"app": "b"}, [(80, 8080)], ["10.96.81.9"]))
        eventually(lambda: any(one["name"] == "web" for one in node.agent.json("services")), what="the Service")
        applying.append(start_applying(node, MUTE))
        time.sleep(0.2)
        assert [one.poll() for one in applying] == [None, None], "neither is told to be in force"
        assert names(node) == {"b-hears-nobody"}, "one after the other"
    finally:
        node.disk_is_slow.unlink()
    assert [one.wait(PATIENCE) for one in applying] == [0, 0]
    assert names(node) == {"b-hears-nobody", "a-says-nothing"}
    assert node.outcome("a", "b", 8080) == "EPERM"
    listener.close()


def test_an_agent_that_dies_before_the_disk_has_a_change_has_made_it(node):
    listener = node.server("b", 8080)
    assert node.outcome("a", "b", 8080) == "ok"
    node.disk_fails.touch()
    with pytest.raises(CommandFailed, match="in force as generation"):
        node.agent.apply(DEAF)
    generation = node.agent.json("status")["generation"]
    node.agent.kill()
    assert node.outcome("a", "b", 8080) == "ECONNREFUSED"
    node.disk_fails.unlink()
    node.agent.start()
    assert names(node) == {"b-hears-nobody"}
    assert node.agent.json("status")["generation"] == generation
    assert node.outcome("a", "b", 8080) == "ECONNREFUSED"
    listener.close()
