# SPDX-License-Identifier: Apache-2.0
"""Inside a virtual machine: what of the product works on this kernel. Prints a line of JSON for each thing that was
tried, `{"name", "works", "detail"}`, after the word RESULT.

What the product does is asked of the product where it can tell (the self-test, the path of a connection), and tried where
that is the only proof (a denial, a request that a route leads elsewhere).
"""

import json
import os
import platform
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Tests" / "Integration"))

from harness import manifests  # noqa: E402 (the path above is needed first)
from harness.agent import binary  # noqa: E402
from harness.meshed import Applied, Meshed  # noqa: E402
from harness.processes import run  # noqa: E402
from harness.routed import Routed, http_route, to  # noqa: E402
from harness.world import eventually  # noqa: E402

PORT = 8300


def tell(name, works, detail=""):
    print("RESULT", json.dumps({"name": name, "works": bool(works), "detail": str(detail)}), flush=True)


def attempt(name, do):
    """Tells whether `do()` worked; it returns what is to be said of it."""
    try:
        tell(name, True, do() or "")
        return True
    except Exception as error:  # whatever it is, it is the finding
        traceback.print_exc()
        tell(name, False, f"{type(error).__name__}: {error}"[:600])
        return False


def check():
    items = json.loads(run(binary("meshctl"), "check", "--all", "-o", "json", check=False).stdout)["items"]
    for item in items:
        tell(f"check: {item['name']}", item["outcome"] in ("passed", "skipped"), f"{item['outcome']}: {item['detail']}")
    if any(item["outcome"] == "failed" for item in items):
        raise RuntimeError("see the items above")


def enrolment(meshed):
    states = {item["name"]: item["redirection"]["state"] for item in meshed.agent.json("workloads")}
    assert states == dict.fromkeys("abco", "enabled"), states


def path(meshed):
    """Redirected, or by TCP with the reason; in either case the bytes arrive."""
    client, server = meshed.connect()
    client.send(b"question")
    assert server.recv(16) == b"question"
    server.send(b"answer")
    assert client.recv(16) == b"answer"
    return meshed.paths(client)[0]


def denied(meshed, policy, source, expected, reason):
    listener = meshed.server("b", PORT)
    applied = Applied(meshed.agent)
    try:
        assert meshed.outcome(source, "b", PORT) == "ok"
        applied(policy)
        found = meshed.outcome(source, "b", PORT)
        assert found == expected, found
        meshed.denial(PORT, reason)
        return f"{found}, told in the flow log"
    finally:
        applied.close()
        listener.close()


def cut(meshed):
    client, server = meshed.connect()
    client.send(b"x")
    assert server.recv(1) == b"x"
    applied = Applied(meshed.agent)
    try:
        applied(manifests.network_policy("cut", manifests.app("b"), ingress=[]))
        client.settimeout(20)
        try:
            found = client.recv(1)
        except OSError as error:
            found = error
        assert found == b"" or isinstance(found, OSError), found
        return repr(found)
    finally:
        applied.close()


def capture(routed):
    client = routed.clients["a"]
    routed.routes(http_route("canary", [
        {"matches": [{"headers": [{"name": "x-canary", "value": "yes"}]}], "backendRefs": [to("v2")]},
        {"backendRefs": [to("v1")]}]))
    eventually(lambda: client.ask(headers={"x-canary": "yes"}).get("answer", {}).get("pod") == "c", what="the route")
    assert client.ask()["answer"]["pod"] == "b"
    found = client.ask()
    return f"a header leads to another Service; getpeername() says {found['peer'][0]}"


def confinement(routed):
    proxy = routed.serving()
    lines = Path(f"/proc/{proxy}/status").read_text().splitlines()
    status = dict(line.split(":\t") for line in lines if ":\t" in line)
    assert status["CapEff"] == "0" * 16 and status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
    return "no capability, no new privileges, a filter"


def request_policy(routed):
    routed.agent.write_config("policies.yaml", manifests.authorization_policy(
        "readers", {"app": "b"}, "DENY", [{"to": [{"operation": {"methods": ["GET"], "paths": ["/no*"]}}]}]))
    client = routed.clients["a"]
    eventually(lambda: client.ask(path="/no").get("status") == 403, what="403")
    assert client.ask(path="/yes")["answer"]["pod"] == "b"
    return "403 by path, 200 otherwise"


def inbound(routed):
    """A request that no connect hook of the mesh has seen comes to the proxy by sk_lookup."""
    found = run(*routed.meshed.node.enter(
        sys.executable, "-c", "import http.client, sys; c = http.client.HTTPConnection(sys.argv[1], 8180, timeout=20); "
        "c.request('GET', '/no'); print(c.getresponse().status)", routed.meshed.pod("b").ipv4)).stdout.strip()
    assert found == "403", found
    return "a client outside the mesh is judged too"


def main():
    tell("kernel", True, platform.release())
    attempt("meshctl check", check)
    made = []
    if attempt("agent without a proxy is ready", lambda: made.append(Meshed(pods=("a", "b", "c", "o")))):
        meshed = made[0]
        report = meshed.agent.json("status")["acceleration"]
        tell("fast path", report["enabled"], report.get("reason") or "the self-test's gates passed")
        attempt("pods are enrolled", lambda: enrolment(meshed))
        attempt("bytes between two pods", lambda: path(meshed))
        attempt("egress is denied", lambda: denied(
            meshed, manifests.network_policy("no-egress", manifests.app("a"), egress=[]), "a", "EPERM", "policy-egress"))
        attempt("ingress is denied", lambda: denied(
            meshed, manifests.network_policy("no-ingress", manifests.app("b"), ingress=[]), "a", "ECONNREFUSED",
            "policy-ingress"))
        attempt("a change cuts a connection", lambda: cut(meshed))
        meshed.remove()
    made = []
    if attempt("agent with a proxy is ready", lambda: made.append(Routed())):
        routed = made[0]
        attempt("the proxy is confined", lambda: confinement(routed))
        attempt("a route leads requests", lambda: capture(routed))
        if attempt("a policy denies requests", lambda: request_policy(routed)):
            attempt("the same for clients outside the mesh", lambda: inbound(routed))
        routed.close()


if __name__ == "__main__":
    try:
        main()
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    sys.stdout.flush()
    os._exit(0)
