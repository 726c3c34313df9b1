# SPDX-License-Identifier: Apache-2.0
"""Certificates of pods: a real agent with an authority of its own, its proxy, and openssl as the judge."""

import os
import signal
import subprocess

import pytest

from harness.agent import binary
from harness.meshed import Meshed
from harness.processes import is_running, run
from harness.said import everything_said
from harness.secrets import dumpable_memory, find_private_key, scalar_of
from harness.world import eventually

DOMAIN = "mesh.test"
OPTIONS = ["--identity", "local", "--trust-domain", DOMAIN]


@pytest.fixture
def node():
    made = Meshed(pods=("a", "b"), starts=False)
    agent = made.agent
    agent.directory.chmod(0o755)  # the proxy is another user
    agent.proxy, agent.options = None, OPTIONS
    agent.start()
    serving(agent)
    yield made
    proxies = []
    try:
        proxies = [one["pid"] for one in agent.json("status")["proxy"]["proxies"]]
    except Exception:  # the agent may have ended
        pass
    made.remove()
    for pid in proxies:
        if is_running(pid) and b"mesh-proxy" in open(f"/proc/{pid}/cmdline", "rb").read():
            os.kill(pid, signal.SIGKILL)


def serving(agent):
    """The process of the proxy, once it serves."""
    def look():
        proxies = agent.json("status")["proxy"]["proxies"]
        return len(proxies) == 1 and proxies[0]["state"] == "serving" and proxies[0]["pid"]
    return eventually(look, what="a proxy that serves")


def name(account):
    return f"spiffe://{DOMAIN}/ns/test/sa/{account}"


def identities(agent, *accounts):
    """The report of each identity, once these have a certificate and there are no others."""
    def look():
        found = {one["identity"]: one for one in agent.json("identity")}
        return (set(found) == set(map(name, accounts)) and all(one["state"] == "current" for one in found.values())
                and found)
    return eventually(look, what=f"certificates of {accounts}")


def openssl(*words, text=None):
    return run("openssl", *words, text=text).stdout


def blocks(pem):
    end = "-----END CERTIFICATE-----\n"
    return [block + end for block in pem.split(end) if block.strip()]


def verified(tmp_path, agent, report):
    """Whether openssl builds a path from the leaf to the authority's roots."""
    chain = blocks(report["chain"])
    (tmp_path / "leaf.pem").write_text(chain[0])
    (tmp_path / "chain.pem").write_text("".join(chain[1:]))
    (tmp_path / "roots.pem").write_text(agent.ctl("ca", "show", "--bundle").stdout)
    for purpose in ("sslclient", "sslserver"):
        openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", tmp_path / "roots.pem", "-untrusted",
                tmp_path / "chain.pem", tmp_path / "leaf.pem")
    return True


def test_each_enrolled_pod_has_a_certificate_that_openssl_accepts(node, tmp_path):
    reports = identities(node.agent, "sa-a", "sa-b")
    for identity, report in reports.items():
        assert len(report["pods"]) == 1 and verified(tmp_path, node.agent, report)
        text = openssl("x509", "-in", tmp_path / "leaf.pem", "-noout", "-text")
        assert f"URI:{identity}" in text and "NIST CURVE: P-256" in text
        assert "TLS Web Server Authentication, TLS Web Client Authentication" in text
        assert "CA:FALSE" in text and "Digital Signature" in text
        serial = openssl("x509", "-in", tmp_path / "leaf.pem", "-noout", "-serial").strip()
        assert serial == f"serial={report['serial']}"
    text = node.agent.ctl("identity").stdout
    assert name("sa-a") in text and "current" in text
    status = node.agent.json("status")["identity"]
    assert status["identities"] == status["current"] == 2 and status["alarming"] == 0
    assert status["trustDomain"] == DOMAIN


def test_an_agent_that_was_killed_goes_on_with_the_certificates_that_the_proxy_has(node):
    before, proxy = identities(node.agent, "sa-a", "sa-b"), serving(node.agent)
    held(node.agent, proxy, 2)
    node.agent.kill()
    node.agent.start()
    assert serving(node.agent) == proxy
    after = identities(node.agent, "sa-a", "sa-b")
    assert {key: one["serial"] for key, one in after.items()} == {key: one["serial"] for key, one in before.items()}
    assert "certificates of an earlier agent are taken over" in node.agent.log.read_text()


def held(agent, proxy, count):
    """Waits until the proxy has that many identities: an agent that starts is given them."""
    eventually(lambda: status_of(agent, proxy).get("identities") == count, what=f"{count} identities in the proxy")


def status_of(agent, proxy):
    return next((one for one in agent.json("status")["proxy"]["proxies"] if one["pid"] == proxy), {})


def test_the_last_pod_takes_its_identity_with_it(node):
    identities(node.agent, "sa-a", "sa-b")
    held(node.agent, serving(node.agent), 2)
    node.node.delete_pod("b")
    node.agent.write_config("objects.yaml", *node.pod_objects({}))
    identities(node.agent, "sa-a")
    held(node.agent, serving(node.agent), 1)


def test_a_change_of_root_breaks_no_chain(node, tmp_path):
    before = identities(node.agent, "sa-a", "sa-b")[name("sa-a")]
    assert verified(tmp_path, node.agent, before)
    report = node.agent.json("ca", "rotate")
    assert [one["stage"] for one in report["generations"]] == ["signing", "announced"]
    assert verified(tmp_path, node.agent, before)
    bundle = blocks(node.agent.ctl("ca", "show", "--bundle").stdout)
    assert len(bundle) == 2
    again = node.agent.ctl("ca", "rotate", check=False)
    assert again.returncode == 9 and "is being changed already" in again.stderr
    # An agent that starts has both.
    node.agent.kill()
    node.agent.start()
    assert blocks(node.agent.ctl("ca", "show", "--bundle").stdout) == bundle


def test_a_proxy_that_was_killed_is_given_the_same_certificates(node):
    before, proxy = identities(node.agent, "sa-a", "sa-b"), serving(node.agent)
    held(node.agent, proxy, 2)
    os.kill(proxy, signal.SIGKILL)
    another = eventually(lambda: (found := serving(node.agent)) != proxy and found, what="another proxy")
    held(node.agent, another, 2)
    after = identities(node.agent, "sa-a", "sa-b")
    assert {one["serial"] for one in after.values()} == {one["serial"] for one in before.values()}


def test_keys_are_nowhere_but_in_locked_memory(node, tmp_path):
    """The key of a pod is found where it must be, and nowhere where it could leak."""
    report = identities(node.agent, "sa-a", "sa-b")[name("sa-a")]
    agent, proxy = node.agent.process.pid, serving(node.agent)
    pids = [agent, proxy]
    held(node.agent, proxy, 2)
    leaf = blocks(report["chain"])[0]
    keys = {pid: find_private_key(pid, leaf) for pid in pids}
    assert keys[pids[0]] and keys[pids[0]] == keys[proxy], "the detector finds the key where it is"
    secrets = [keys[proxy], scalar_of(node.agent.state / "authority.pem")]
    for pid in pids:
        limits = open(f"/proc/{pid}/limits").read()
        assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size")] == [["0", "0"]]
        # Whose memory may not be dumped belongs to root, whoever runs it (proc(5)).
        assert os.stat(f"/proc/{pid}/status").st_uid == 0
        memory = dumpable_memory(pid)
        for secret in secrets:
            assert secret not in memory and secret[::-1] not in memory, f"process {pid} has a key outside"
    said = everything_said(node.agent, ["test/a", "test/b:80"]).encode()
    for secret in secrets:
        for form in (secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode()):
            assert form not in said
    assert b"PRIVATE" not in said
    assert os.stat(node.agent.state / "authority.pem").st_mode & 0o777 == 0o600


def test_an_authority_that_cannot_be_used_stops_the_agent_and_stays(node):
    node.agent.stop()
    file = node.agent.state / "authority.pem"
    before = file.read_bytes()
    file.write_bytes(before[:200])
    node.agent.start(wait=False)
    node.agent.process.wait(10)
    assert node.agent.process.returncode != 0
    assert "authority.pem" in node.agent.log_tail() and file.read_bytes() == before[:200]
    file.write_bytes(before)
    node.agent.start()
    identities(node.agent, "sa-a", "sa-b")


def test_revocation_lists_that_cannot_be_read_are_said(node):
    identities(node.agent, "sa-a", "sa-b")
    node.agent.stop()
    (node.agent.state / "revoked.pem").write_text("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    node.agent.start()
    identities(node.agent, "sa-a", "sa-b")
    status = node.agent.json("status")["identity"]
    assert "revoked.pem" in status["trouble"] and status["current"] == 2
    assert "revoked.pem" in node.agent.ctl("status").stdout
    assert "the identity provider is in trouble" in node.agent.log.read_text()


def test_the_authority_can_be_made_before_the_agent(tmp_path):
    made = run(binary("meshctl"), "ca", "init", "--node", "n1", "--state-dir", tmp_path / "state", "--trust-domain", DOMAIN)
    assert "signing" in made.stdout
    file = tmp_path / "state" / "authority.pem"
    before = file.read_bytes()
    again = run(binary("meshctl"), "ca", "init", "--node", "n1", "--state-dir", tmp_path / "state", check=False)
    assert again.returncode == 9 and "there is an authority" in again.stderr and file.read_bytes() == before


def test_without_the_option_nothing_changes():
    made = Meshed(pods=("a",))
    try:
        answer = made.agent.ctl("identity", check=False)
        assert answer.returncode == 9 and "have no certificates" in answer.stderr
        assert not (made.agent.state / "authority.pem").exists()
        assert "identity" not in made.agent.json("status")
    finally:
        made.remove()
    words = ["--node", "n1", "--proxy", "none", "--identity", "local"]
    refused = subprocess.run([binary("mesh-agent"), *words], capture_output=True, text=True)
    assert refused.returncode == 2 and "--identity: no node proxy runs (--proxy none)" in refused.stderr
