# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the root tests. They fail, not skip, where they cannot run: `make test` must not pass by skipping."""

import os
import subprocess

import pytest

from harness import manifests
from harness.capture import Proxy, Rules
from harness.meshed import Applied, Meshed
from harness.node import sweep
from harness.processes import root_of_repository
from harness.routed import Routed
from harness.services import TARGET, Backends, Datagrams, Services, web
from harness.world import MODES, World, eventually


def pytest_addoption(parser):
    parser.addoption("--body-megabytes", type=int, default=100, help="size of the bodies that pass with bounded memory")
    parser.addoption("--modes", default=",".join(MODES), help="modes of the tests that compare with plain TCP")


def pytest_generate_tests(metafunc):
    modes = metafunc.config.getoption("--modes").split(",")
    if "world" in metafunc.fixturenames:
        metafunc.parametrize("world", modes, indirect=True)
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])


def pytest_sessionstart(session):
    if os.geteuid() != 0:
        raise pytest.UsageError("these tests make network namespaces and load BPF programs: run them as root")
    sweep()


@pytest.fixture(scope="session")
def worlds():
    """Mode -> world. Kept once made: the next file needs all of them again."""
    made = {}
    yield made
    for one in made.values():
        one.remove()


@pytest.fixture
def world(request, worlds):
    """Pods a, b and c, on plain veths or under the mesh: what a test asserts must hold in every mode."""
    if request.param not in worlds:
        worlds[request.param] = World(request.param, pods=("a", "b", "c"))
    return worlds[request.param]


@pytest.fixture(scope="session")
def meshed():
    """A node whose policies tests change through `policies`; no other test's world notices."""
    made = Meshed(ports=[("web", 8080), ("metrics", 9090)])
    yield made
    made.remove()


@pytest.fixture
def policies(meshed):
    """policies(*objects) applies them until the end of the test."""
    applied = Applied(meshed.agent)
    yield applied
    applied.close()


@pytest.fixture(scope="module")
def routed():
    """A node with a proxy, whose routes tests change. Files that need other options or servers make their own."""
    made = Routed()
    yield made
    made.close()


@pytest.fixture
def pods(meshed):
    """pods(objects) replaces the Pods until the end of the test."""
    path = meshed.agent.config / "objects.yaml"
    original = path.read_text()

    def write(objects):
        manifests.write(path, manifests.namespace("test", {"team": "red"}),
                        manifests.namespace("other", {"team": "blue"}), *objects)
    yield write
    manifests.replace(path, original)
    eventually(lambda: meshed.agent.json("status")["ready"], what="readiness")


@pytest.fixture(scope="module")
def backends(meshed):
    """Pods b and c listen on the target port of the tests' Services."""
    made = Backends(meshed)
    yield made
    made.close()


@pytest.fixture(scope="module")
def datagrams(meshed):
    """The same for UDP."""
    made = Datagrams(meshed)
    yield made
    made.close()


@pytest.fixture
def services(meshed):
    """services(*objects, pods=...) is the configuration until the end of the test."""
    made = Services(meshed)
    yield made
    made.close()


@pytest.fixture(scope="module")
def proxied():
    """A node of its own with Service web of pod b, for tests of what the node proxy carries."""
    made = Meshed(pods=("a", "b", "c", "u"))
    try:
        Services(made)(web({"role": "server"}), pods={"b"})
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def targets(proxied):
    """The listeners of pod b behind the Service, by family."""
    made = {family: proxied.server("b", TARGET, family) for family in (4, 6)}
    yield made
    for listener in made.values():
        listener.close()


@pytest.fixture(scope="module")
def proxies(proxied):
    """A stand-in for the proxy in pods a and b."""
    made = {name: Proxy(proxied, name) for name in ("a", "b")}
    yield made
    for proxy in made.values():
        proxy.close()


@pytest.fixture
def proxy(proxies):
    return proxies["a"]


@pytest.fixture
def rules(proxied):
    """What the agent does not write yet, until the end of the test; a proxy is live."""
    made = Rules(proxied.agent)
    made.control["proxy_live"] = 1
    yield made
    made.control["proxy_live"] = 0
    made.close()


@pytest.fixture(scope="session")
def meshload():
    """The load tool, built if it is not there."""
    package = root_of_repository() / "Benchmarks"
    done = subprocess.run(["swift", "build", "-c", "release", "--product", "meshload", "--package-path", package],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return package / ".build" / "release" / "meshload"
