# SPDX-License-Identifier: Apache-2.0
"""Nodes that share an authority by joining it: tokens, who gets which identity, and an authority that goes away."""

import json
import os

import pytest

from harness.agent import binary
from harness.hbone import Authority
from harness.joined import Asker, JoinedNodes, request
from harness.processes import run
from harness.two_nodes import DOMAIN, outcome, received
from harness.world import eventually


@pytest.fixture(scope="module")
def mesh():
    made = JoinedNodes()
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


def test_a_revocation_at_the_authority_ends_tunnels_of_nodes_that_have_joined(mesh):
    """The pod b is out after it."""
    kept, other = mesh.connect("a", "x"), mesh.connect("b", "x")
    issuer = Authority.of_file(mesh.here.agent.state / "authority.pem", DOMAIN, "test", place=1)
    chain = eventually(lambda: identity(mesh.here.agent, "sa-b").get("chain"), what="a certificate for b")
    (mesh.here.agent.state / "revoked.pem").write_text(issuer.revoked(chain))
    # Both look at once when they start; each every 30 seconds else. What is open goes on meanwhile.
    mesh.authority.stop()
    mesh.authority.start()
    agent = mesh.there.agent
    agent.stop()
    agent.start()
    with pytest.raises(ConnectionResetError):
        other[0].recv(1)
    assert mesh.log(mesh.there, reason="peer_rejected")["src.workload"] == "b"
    assert outcome(mesh, "b", "x") == "ECONNRESET"
    sent = mesh.marker()
    kept[0].send(sent)
    assert received(kept[1], len(sent)) == sent
    for end in (*kept, *other):
        end.close()
    assert "BEGIN X509 CRL" in (agent.state / "trust.pem").read_text()


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
