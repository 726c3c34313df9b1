# SPDX-License-Identifier: Apache-2.0
"""Bad input through meshctl and the configuration directory: refused with file, line and field; the rest keeps working."""

import json

import pytest

from harness import manifests
from harness.agent import binary
from harness.manifests import app, network_policy
from harness.processes import run
from harness.world import eventually

INVALID_INPUT, USAGE, UNREACHABLE, NOT_FOUND, CONFLICT = 5, 2, 3, 8, 9

HEAD = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: bad, namespace: test}
spec:
"""

# name, document, line, words of the message
BAD = [
    ("malformed YAML", "kind: [unclosed\n", 2, ["bad.yaml:"]),
    ("tab", "kind: NetworkPolicy\n\tspec: {}\n", 2, ["bad.yaml:2"]),
    ("not a mapping", "- just\n- a list\n", 1, ["bad.yaml:1"]),
    ("no kind", "apiVersion: v1\nmetadata: {name: x}\n", 1, ["kind"]),
    ("unknown kind", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolice\nmetadata: {name: x}\n", 2,
     ["NetworkPolice", "NetworkPolicy"]),
    ("unknown field", HEAD + "  podSelector: {}\n  ingres: []\n", 6, ["spec.ingres", "ingress"]),
    ("CIDR", HEAD + "  podSelector: {}\n  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]\n", 6,
     ["spec.ingress[0].from[0].ipBlock.cidr", "10.0.0.0/33"]),
    ("except outside", HEAD + "  podSelector: {}\n"
     "  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [192.168.0.0/16]}}]}]\n", 6,
     ["spec.ingress[0].from[0].ipBlock.except[0]", "192.168.0.0/16"]),
    ("port", HEAD + "  podSelector: {}\n  ingress: [{ports: [{port: 70000}]}]\n", 6,
     ["spec.ingress[0].ports[0].port", "70000"]),
    ("endPort", HEAD + "  podSelector: {}\n  ingress: [{ports: [{port: 90, endPort: 80}]}]\n", 6,
     ["spec.ingress[0].ports[0].endPort"]),
    ("selector", HEAD + "  podSelector: {matchExpressions: [{key: a, operator: Equals, values: [b]}]}\n", 5,
     ["spec.podSelector.matchExpressions[0].operator", "Equals"]),
    ("label", HEAD + "  podSelector: {matchLabels: {-bad: x}}\n", 5, ["spec.podSelector.matchLabels"]),
    ("type", HEAD + "  podSelector: {}\n  ingress: {}\n", 6, ["spec.ingress", "list"]),
    ("duplicate key", HEAD + "  podSelector: {}\n  podSelector: {}\n", 5, ["podSelector", "twice"]),
    ("second document", "---\n" + HEAD + "  podSelector: {}\n---\nkind: NetworkPolicy\nspec: {}\n", 8, ["bad.yaml:"]),
]


@pytest.mark.parametrize("name, text, line, words", BAD, ids=[entry[0] for entry in BAD])
def test_apply_names_file_line_and_field(meshed, tmp_path, name, text, line, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    before = meshed.agent.json("status")["generation"]
    done = meshed.agent.ctl("policy", "apply", "-f", path, check=False)
    assert done.returncode == INVALID_INPUT, done.stderr
    assert f"bad.yaml:{line}" in done.stderr or name == "malformed YAML", done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert meshed.agent.json("status")["generation"] == before, "nothing may be applied"


def test_one_bad_document_stops_all_of_them(meshed, tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(manifests.text(network_policy("good", app("b"), ingress=[])) + "---\nkind: Nonsense\n")
    assert meshed.agent.ctl("policy", "apply", "-f", path, check=False).returncode == INVALID_INPUT
    assert meshed.agent.ctl("policy", "get", "NetworkPolicy", "test/good", check=False).returncode == NOT_FOUND


def test_a_bad_file_in_the_directory_keeps_the_last_good_version(meshed):
    """Rejected with file and line in the status; what it said before stays in force; other files are read."""
    path = meshed.agent.config / "policy.yaml"
    listener = meshed.server("b", 8500)
    try:
        manifests.write(path, network_policy("from-file", app("b"), ingress=[]))
        eventually(lambda: meshed.outcome("a", "b", 8500) == "ECONNREFUSED", what="enforcement of the file")
        good = path.read_text()
        manifests.replace(path, good.replace("ingress: []", "ingress: nonsense"))
        eventually(lambda: any("policy.yaml" in json.dumps(finding) for finding in
                               meshed.agent.json("status")["findings"]), what="a finding in the status")
        assert meshed.outcome("a", "b", 8500) == "ECONNREFUSED"
        manifests.write(meshed.agent.config / "more.yaml", network_policy("more", app("c"), ingress=[]))
        eventually(lambda: "more" in json.dumps(meshed.agent.json("policy", "get")), what="the other file")
        manifests.replace(path, good.replace("ingress: []", "ingress: [{}]"))
        eventually(lambda: meshed.outcome("a", "b", 8500) == "ok", what="the mended file")
    finally:
        listener.close()
        for name in ("policy.yaml", "more.yaml"):
            (meshed.agent.config / name).unlink(missing_ok=True)
        eventually(lambda: "from-file" not in json.dumps(meshed.agent.json("policy", "get")), what="the files' end")


def test_an_invalid_policy_that_never_was_good_denies(meshed):
    """Fail closed: the direction that it selects is refused until it can be read."""
    path = meshed.agent.config / "never-good.yaml"
    listener = meshed.server("b", 8501)
    try:
        manifests.replace(path, HEAD.replace("bad", "never-good") +
                          "  podSelector: {matchLabels: {app: b}}\n  ingress: what\n")
        eventually(lambda: meshed.outcome("a", "b", 8501) == "ECONNREFUSED", what="the refusal")
    finally:
        listener.close()
        path.unlink()
        eventually(lambda: "never-good" not in json.dumps(meshed.agent.json("status")["findings"]), what="the file's end")


def test_an_object_of_the_directory_cannot_be_overridden(meshed):
    path = meshed.agent.config / "owned.yaml"
    try:
        manifests.write(path, network_policy("owned", app("c"), ingress=[{}]))
        eventually(lambda: "owned" in json.dumps(meshed.agent.json("policy", "get")), what="the file's policy")
        done = meshed.agent.ctl("policy", "apply", "-f", "-", check=False,
                                text=manifests.text(network_policy("owned", app("c"), ingress=[])))
        assert done.returncode == CONFLICT, done.stderr
        assert "owned" in done.stderr
    finally:
        path.unlink()


def test_a_pod_whose_namespace_does_not_exist(meshed):
    pod = meshed.pod_object("a")
    pod["metadata"]["name"] = "ghost"
    pod["metadata"]["annotations"]["sockmesh.io/netns"] = "/run/netns/no-such-namespace"
    pod["status"] = {"podIP": "10.81.0.250", "podIPs": [{"ip": "10.81.0.250"}]}
    path = meshed.agent.config / "ghost.yaml"
    try:
        manifests.write(path, pod)

        def failed():
            ghost = next((w for w in meshed.agent.json("workloads") if w["name"] == "ghost"), None)
            return ghost and ghost["redirection"]["state"] == "failed" and ghost["redirection"]["reason"]
        assert "no-such-namespace" in eventually(failed, what="the report")
        client, server = meshed.connect()
        client.send(b"others work")
        assert server.recv(100) == b"others work"
    finally:
        path.unlink()


@pytest.mark.parametrize("words, status", [
    (["policy", "apply"], USAGE), (["policy", "apply", "-f", "/no/such/file"], INVALID_INPUT),
    (["policy", "explain", "test/a", "nonsense"], USAGE), (["policy", "explain", "test/nobody", "test/b:80"], NOT_FOUND),
    (["policy", "delete", "NetworkPolicy", "test/nothing"], NOT_FOUND), (["policy", "get", "Secret"], USAGE),
    (["run", "--pod", "test/nobody", "--", "true"], 125), (["run", "--pod", "test/a", "--", "/no/such/program"], 127),
    (["fly"], USAGE)], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_exit_codes(meshed, words, status):
    done = meshed.agent.ctl(*words, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.strip(), "an error says something"


def test_no_agent(meshed):
    done = run(binary("meshctl"), "status", "--socket", "/run/no-such-agent.sock", check=False)
    assert done.returncode == UNREACHABLE
    assert "/run/no-such-agent.sock" in done.stderr
