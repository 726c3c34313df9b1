# SPDX-License-Identifier: Apache-2.0
"""The steps about requests: what the node's proxy does for the Services that have a route or a policy of requests."""

import json
import re
import sys
import time
from pathlib import Path

from harness.processes import run
from terminal import StepFailed, check, command, heading, output, say

CLIENT = str(Path(__file__).resolve().parent / "client.py")
WEB, WEB6, WEB_WEIGHTS = "10.96.0.10", "fd96::10", {"web-a": 3, "web-b": 1}


class RequestSteps:
    """A part of Demo."""

    def canary(self):
        heading("A route: one request in ten to the canary, through the node's proxy, and who asks for it by a header")
        self._apply("canary.yaml", "routes")
        self.mesh.ctl("routes")
        conditions = [(c["type"], c["status"]) for route in self.mesh.json("routes")
                      for parent in route["parents"] for c in parent["conditions"]]
        check(len(conditions) == 2 and all(status == "True" for _, status in conditions),
              "the Service accepts the route, and its backends exist", str(conditions))
        self._wait_until("web-b 10", "/canary", 10)
        self._get(f"http://{WEB}/", 400, {"web-a": 9, "web-b": 1})
        self._get(f"http://{WEB}/canary", 20, {"web-a": 0, "web-b": 1})
        text = self._ask("GET", "/", 20, "x-track: canary")
        check(text.strip() == "web-b 20", "the header leads to the canary", text)
        self.mesh.ctl("policy", "delete", "HTTPRoute", "demo/canary")
        self._get(f"http://{WEB}/", 400, WEB_WEIGHTS)

    def retry(self):
        heading("A retry over a failing backend")
        say("web-b answers every request for /flaky with 503:")
        text = self._ask("GET", "/flaky", 100)
        check("status 503" in text, "so clients see it fail", text)
        self._apply("retry.yaml", "routes")
        # By chance alone the first pod would answer all of these once in ten thousand times.
        self._wait_until("web-a 32", "/flaky", 32)
        text = self._ask("GET", "/flaky", 200)
        check(text.strip() == "web-a 200", "with the route no request fails", text)
        self.mesh.ctl("policy", "delete", "HTTPRoute", "demo/retry")

    def mirror(self):
        heading("A mirror: the canary gets a copy of each request, and nobody waits for it")
        self._apply("mirror.yaml", "routes")
        self._wait_until("web-a 32", "/copied/first", 32)
        text = self._ask("GET", "/copied/shown", 50)
        check(text.strip() == "web-a 50", "the stable pod answers all", text)
        deadline = time.monotonic() + 10
        while (found := self._copies()) < 50 and time.monotonic() < deadline:
            time.sleep(0.02)
        check(found == 50, "web-b has seen 50 copies, by its own log", f"it has seen {found}")
        self.mesh.ctl("policy", "delete", "HTTPRoute", "demo/mirror")

    def deny_request(self):
        heading("A policy that denies a path by method: 403, and the log says why")
        self._apply("read-only.yaml")
        text = self._ask("DELETE", "/items/1", 20)
        check(text.strip() == "status 403 20", "20 of 20 are denied", text)
        for method, path in (("GET", "/items/1"), ("DELETE", "/other")):
            text = self._ask(method, path, 20)
            check("status" not in text, f"{method} {path} is not", text)
        command("grep policy_denied mesh-agent.log | tail -n 1")
        lines = [line for line in self.mesh.agent.log_tail(500).splitlines() if '"policy_denied"' in line]
        found = json.loads(lines[-1]) if lines else {}
        output(lines[-1] if lines else "")
        check("demo/items-stay" in found.get("decided_by", ""), "the access log names the policy", str(found))

    def views(self):
        heading("What the proxy has counted, live")
        text = self.mesh.ctl("metrics", "istio_requests_total")
        line = next((line for line in text.splitlines() if "response_code=403" in line), "")
        check(re.search(r"demo/client\s.*\s20$", line) is not None, "the 20 denied requests, from the client", text)
        status = self.mesh.json("status")["proxy"]
        check([one["state"] for one in status["proxies"]] == ["serving"], "one process serves, which may do nothing else",
              str(status))
        self.mesh.ctl("connections", limit=8)
        self.mesh.ctl("policy", "delete", "AuthorizationPolicy", "demo/items-stay")

    # Their parts

    def _ask(self, method, path, count, *headers, pod="client"):
        words = " ".join(f"'{header}'" for header in headers)
        return self.mesh.in_pod(pod, sys.executable, CLIENT, "ask", method, f"http://{WEB}{path}", str(count), *headers,
                                shown_as=f"client.py ask {method} http://{WEB}{path} {count} {words}".rstrip())

    def _wait_until(self, answer, path, count):
        """Connections are led to the proxy once it has said that it knows the route."""
        argv = self.mesh.pod_argv("client", sys.executable, CLIENT, "get", f"http://{WEB}{path}", str(count))
        deadline = time.monotonic() + 10
        while answer != (text := run(*argv).stdout).strip():
            if time.monotonic() > deadline:
                raise StepFailed(f"requests for {path} do not take the route: {text}")

    def _copies(self):
        """Requests that were shown and that web-b has read."""
        path = self.directory / "web-b" / "copied.log"
        return path.read_text().count("/copied/shown") if path.exists() else 0
