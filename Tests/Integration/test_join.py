# SPDX-License-Identifier: Apache-2.0
"""Nodes that share an authority by joining it: tokens, who gets which identity, and an authority that goes away."""

import datetime
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pytest

from harness.agent import binary
from harness.hbone import Authority
from harness.joined import Asker, JoinedNodes, request
from harness.manifests import service
from harness.processes import run, stop
from harness.routed import PORT, PROGRAM, TARGET, Steady, http_route, to
from harness.two_nodes import DOMAIN
from harness.world import eventually

WEB = "10.96.7.2"
# Seconds that certificates live while the authority is away.
LIFE = 16


@pytest.fixture(scope="module")
def mesh():
    made = JoinedNodes(service("web", {"app": "x"}, [(PORT, TARGET)], [WEB]),
                       http_route("web", [{"backendRefs": [to("web")]}]))
    yield made
    made.close()


def name(account):
    return f"spiffe://{DOMAIN}/ns/test/sa/{account}"


def identity(agent, account):
    return next((one for one in agent.json("identity") if one["identity"] == name(account)), {})


def passes(mesh, *ends):
    marker = b"in clear " + os.urandom(24).hex().encode()
    client, server = mesh.connect(*ends)
    client.send(marker)
    assert server.recv(len(marker)) == marker
    client.close()
    server.close()
    assert not any(marker in frame for frame in mesh.wire.frames())


def test_nodes_that_have_joined_have_tunnels(mesh):
    for ends in ("ax", "xa"):
        passes(mesh, *ends)
    assert not (mesh.there.agent.state / "authority.pem").exists()
    for side in mesh.sides:
        assert os.stat(side.agent.state / "node.pem").st_mode & 0o777 == 0o600
        text = run("openssl", "x509", "-in", side.agent.state / "node.pem", "-noout", "-text").stdout
        assert f"URI:spiffe://{DOMAIN}/sockmesh/node/{side.agent.node.id}" in text
        status = side.agent.json("status")["identity"]
        assert status["provider"] == "certificate authority 10.81.0.1:15010" and "trouble" not in status
    log = mesh.authority.log.read_text()
    assert log.count("a node has joined") == 2
    said = log + "".join(side.agent.log.read_text() for side in mesh.sides)
    assert not any(json.loads(path.read_text())["token"] in said for path in mesh.files.values())


def test_a_token_is_good_once_for_one_node(mesh):
    here, there = (side.agent.node for side in mesh.sides)

    def refused(path, node, **changes):
        asker = Asker(there, path)
        answer = asker.ask(join={"token": asker.file["token"], "node": node.id, "request": request(), **changes})
        asker.close()
        return answer["refused"]
    used = refused(mesh.files[mesh.there], there)
    assert used["code"] == "usedToken" and "the token was used at" in used["reason"]
    path, done = mesh.authority.token(there.id, "-o", "json")
    assert os.stat(path).st_mode & 0o777 == 0o600 and "token" not in done.stdout
    assert refused(path, here)["code"] == "otherNodesToken"
    assert refused(path, there, token="0" * 64)["code"] == "unknownToken"
    assert refused(path, there, request="AAAA")["code"] == "malformed"
    log = mesh.authority.log.read_text()
    for code in ("usedToken", "otherNodesToken", "unknownToken"):
        assert f"code={code}" in log and f"node={there.id}" in log


def test_a_node_gets_only_what_the_configuration_puts_on_it(mesh):
    agent = mesh.there.agent
    asker = Asker(agent.node, mesh.files[mesh.there], agent.state / "node.pem")
    assert len(asker.ask(trust={})["trust"]["roots"]) == 1
    assert "certificate" in asker.ask(issue={"identity": name("sa-x"), "request": request()})
    refused = asker.ask(issue={"identity": name("sa-a"), "request": request()})["refused"]
    assert refused["code"] == "notOnThisNode" and f"is on node {agent.node.id}" in refused["reason"]
    assert asker.ask(issue={"identity": f"spiffe://{DOMAIN}/sockmesh/node/{mesh.here.agent.node.id}",
                            "request": request()})["refused"]["code"] == "malformed"
    asker.close()
    stranger = Asker(agent.node, mesh.files[mesh.there])
    assert stranger.ask(trust={})["refused"]["code"] == "notANode"
    stranger.close()
    assert f"asker={agent.node.id}" in mesh.authority.log.read_text()


@pytest.fixture(scope="module")
def web(mesh):
    """Pod x serves HTTP."""
    server = mesh.there.spawn("x", sys.executable, PROGRAM, "serve", "x", str(TARGET), stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "ready\n"
    yield mesh.pod("x").ipv4, TARGET
    stop(server)


@contextmanager
def requests(mesh, web, expiry=float("inf")):
    """Requests without end that a route sends to the other node, and in tunnels of the application's own, new and kept ones.
    Gives what waits for more of each. None may fail that began before `expiry`, of time.time()."""
    last = time.monotonic() + expiry - time.time()
    with ExitStack() as stack:
        loads = [stack.enter_context(Steady(mesh.here, pod, target, how, "0.05")) for pod, target, how in (
            ("a", (WEB, PORT), "kept"), ("a", (WEB, PORT), "new"), ("b", web, "kept"), ("b", web, "new"))]

        def more():
            now = time.monotonic()
            for load in loads:
                report = load.until(now) if now < last - 2 else load.report()
                assert not [one for one in report["failed"] if one[0] < last - 1]
        more()
        yield more
        more()


def leaves(mesh):
    """Identity -> its report, of both nodes."""
    return {one["identity"]: one for side in mesh.sides for one in side.agent.json("identity")}


def issuer(report):
    """PEM of what has signed a leaf."""
    return report["chain"].partition("-----END CERTIFICATE-----\n")[2]


def renewed(mesh):
    """The leaves, once all were asked for and are others."""
    before = leaves(mesh)
    for side in mesh.sides:
        side.agent.ctl("identity", "--renew")
    return others(mesh, before)


def others(mesh, before):
    """The leaves, once all are others than `before`."""
    def look():
        found = leaves(mesh)
        return (found.keys() == before.keys() and all(one["state"] == "current" for one in found.values())
                and all(found[name]["serial"] != before[name]["serial"] for name in found) and found)
    return eventually(look, what="other leaves")


def provider_metric(agent):
    name = "sockmesh_identity_provider_trouble "
    return next(line for line in agent.ctl("metrics", "--raw").stdout.splitlines() if line.startswith(name)).split()[1]


def test_an_authority_that_is_away_for_longer_than_half_of_a_certificates_life(mesh, web):
    """No request fails before a certificate expires, somebody is told, and all is well by itself when it is back."""
    agent = mesh.here.agent
    file = agent.state / "authority.pem"
    mesh.authority.stop()
    # A leaf lives no longer than what signs it.
    Authority.of_file(file, DOMAIN, "test").renew_intermediate(file, LIFE)
    mesh.authority.start()
    short = renewed(mesh)
    expires = min(datetime.datetime.fromisoformat(one["notAfter"]) for one in short.values()).timestamp()
    assert expires - time.time() <= LIFE and provider_metric(agent) == "0"
    with requests(mesh, web, expires) as more:
        mesh.authority.kill()
        away = eventually(lambda: all(one["state"] != "current" for one in leaves(mesh).values()) and leaves(mesh),
                          what="renewals that fail")
        more()
        for one in away.values():
            assert "Connection refused" in one["error"] and one["serial"] == short[one["identity"]]["serial"]
        assert "gives nothing" in agent.json("status")["identity"]["trouble"]
        assert "gives nothing" in agent.ctl("status").stdout and provider_metric(agent) == "1"
        assert "the identity provider is in trouble" in agent.log.read_text()
        more()
        # What signs is renewed at half of its life; leaves may all be due before, from 45 hundredths on.
        time.sleep(max(0, expires - LIFE / 2 - time.time()))
        mesh.authority.start()
        after = others(mesh, short)
    assert not {issuer(one) for one in after.values()} & {issuer(one) for one in short.values()}, "half of its life is over"
    eventually(lambda: "trouble" not in agent.json("status")["identity"], what="no trouble")
    assert provider_metric(agent) == "0" and "the identity provider is well again" in agent.log.read_text()


def test_no_request_fails_while_leaf_intermediate_and_root_change(mesh, web):
    def signed_by(generation):
        assert {issuer(one) for one in renewed(mesh).values()} == {generation["intermediate"]["pem"]}
        more()
    first, = mesh.authority.generations()
    with requests(mesh, web) as more:
        client, server = mesh.connect("a", "x")
        signed_by(first)
        second, = mesh.authority.change("--intermediate")
        assert second["root"] == first["root"] and second["intermediate"] != first["intermediate"]
        signed_by(second)
        signing, announced = mesh.authority.change()
        assert (signing, announced["stage"]) == (second, "announced")
        signed_by(signing)
        both = signing["root"]["pem"] + announced["root"]["pem"]
        assert all((side.agent.state / "trust.pem").read_text() == both for side in mesh.sides)
        refused = mesh.authority.rotate("--use", check=False)
        assert refused.returncode == 9 and "nodes may not know it yet" in refused.stderr
        retiring, used = mesh.authority.change("--use", "--force")
        assert (retiring["stage"], used["stage"], used["root"]) == ("retiring", "signing", announced["root"])
        signed_by(used)
        # A connection of before goes on.
        marker = mesh.marker()
        client.send(marker)
        assert server.recv(len(marker)) == marker
        client.close()
        server.close()
    again = mesh.authority.rotate(check=False)
    assert again.returncode == 9 and "is being changed already" in again.stderr


def test_a_revoked_certificate_is_cut_on_a_node_that_has_joined(mesh):
    """After the other changes: the second root signs. While the authority is served, by what meshctl identity lists."""
    agent = mesh.here.agent
    kept, other = mesh.connect("a", "x"), mesh.connect("b", "x")
    serial = identity(agent, "sa-b")["serial"]
    assert mesh.authority.revoke("xyz", check=False).returncode == 2
    done = mesh.authority.revoke(serial)
    assert serial in done.stdout and "revoked.pem" in done.stdout
    # Both within 30 seconds by themselves.
    mesh.authority.stop()
    mesh.authority.start()
    mesh.there.agent.ctl("identity", "--renew")
    with pytest.raises(ConnectionResetError):
        other[0].recv(1)
    assert mesh.log(mesh.there, reason="peer_rejected")["src.workload"] == "b"
    marker = mesh.marker()
    kept[0].send(marker)
    assert kept[1].recv(len(marker)) == marker
    for end in (*kept, *other):
        end.close()


def test_an_authority_that_was_killed_is_missed_by_nobody_who_has_a_certificate(mesh):
    """Last: the pod u is in the mesh after it."""
    agent = mesh.here.agent
    before = identity(agent, "sa-a")["serial"]
    mesh.authority.kill()
    agent.stop()
    agent.start()  # with what its proxy has
    mesh.here.proxy.serving()
    passes(mesh, "a", "x")
    assert eventually(lambda: identity(agent, "sa-a").get("serial"), what="a certificate for a") == before
    objects = [item for item in mesh.objects if item["metadata"]["name"] != "u"]
    agent.write_config("objects.yaml", *objects, mesh.here.pod_object("u", mesh="enabled"))
    failed = eventually(lambda: "Connection refused" in identity(agent, "sa-u").get("error", ""), what="an error")
    assert failed and "Connection refused" in agent.json("status")["identity"]["trouble"]
    mesh.authority.start()
    eventually(lambda: identity(agent, "sa-u").get("state") == "current", what="a certificate for u")
    eventually(lambda: "trouble" not in agent.json("status")["identity"], what="no trouble")


def test_one_keeper_of_an_authority(mesh):
    agent = mesh.here.agent
    # Where no cgroups are mounted, for it needs none.
    bare = 'umount -l -a -t cgroup2 && ! grep -q " - cgroup2 " /proc/self/mountinfo && exec "$@"'
    again = run("unshare", "--mount", "sh", "-c", bare, "-", binary("meshctl"), "ca", "serve", "--node", agent.node.id,
                "--state-dir", agent.state, "--config-dir", agent.config, "--trust-domain", DOMAIN, "--listen",
                "127.0.0.1:0", check=False)
    assert again.returncode == 9 and f"process {mesh.authority.process.pid} uses this authority" in again.stderr
    assert mesh.authority.stop() == 0
