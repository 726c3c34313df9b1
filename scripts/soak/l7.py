# SPDX-License-Identifier: Apache-2.0
"""Moves checked requests through the node's proxy while routes, policies and endpoints change and backends restart.

Exit status 0 only if every response was its request's byte for byte, every failed request is explained by a backend that
was killed while it had the request, memory of proxy and agent stayed flat, and no descriptor was left open.
"""

import argparse
import collections
import os
import shutil
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Integration"))

from harness.processes import run_program, stop  # noqa: E402 (the path above is needed first)
from harness.world import eventually  # noqa: E402
from l7world import Churn, Failures, Node, Restarts, request_policy  # noqa: E402

# Growth after the warm-up. A short run ends before pools and the history of policies have their size.
GROWTH, SHORT_SECONDS, SHORT_KILOBYTES = 0.03, 600, 8 << 10


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--connections", type=int, default=8, help="of each of two clients")
    parser.add_argument("--rest", type=float, default=0, metavar="MILLISECONDS", help="of a connection between two requests")
    parser.add_argument("--restart-seconds", type=float, default=2, help="between two restarts of backends, about")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of all random choices")
    parser.add_argument("--access-log", type=Path, help="copy the agent's log with a line for each request here at the end")
    parser.add_argument("--no-churn", action="store_true")
    parser.add_argument("--no-restarts", action="store_true")
    return parser.parse_args()


class Watched:
    """A process whose memory and descriptors must not grow."""

    def __init__(self, name, pid):
        self.name, self.pid = name, pid
        self.kilobytes = []
        self.descriptors_before = self.descriptors()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def sample(self):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                self.kilobytes.append(int(line.split()[1]))

    def growth(self):
        """(kilobytes after the warm-up, growth from then to the end of the run)."""
        fifth, tenth = len(self.kilobytes) // 5, max(1, len(self.kilobytes) // 10)
        warm = statistics.median(self.kilobytes[fifth:fifth + tenth])
        return warm, statistics.median(self.kilobytes[-tenth:]) - warm

    def findings(self, seconds):
        warm, growth = self.growth()
        allowed = warm * GROWTH + (SHORT_KILOBYTES if seconds < SHORT_SECONDS else 0)
        print(f"  {self.name}: {warm:.0f} KiB resident after the warm-up, {growth:+.0f} KiB since; "
              f"{self.descriptors_before} descriptors before, {self.descriptors()} after")
        if growth > allowed:
            yield f"{self.name} grew by {growth:.0f} KiB from {warm:.0f} KiB; {allowed:.0f} are allowed"
        # Reuse of a slot or a log file may take one or two; what leaks takes one for each connection or change.
        if self.descriptors() > self.descriptors_before + 4:
            yield f"{self.name} has {self.descriptors()} descriptors open, {self.descriptors_before} before the load"


def explained(failure, kills):
    """Whether a backend that was killed meanwhile is the cause. Nothing explains a wrong response or one that does not
    come; and requests that no backend has seen are repeated by the route, so nothing explains a 503 or 504."""
    if failure["kind"] in ("wrong", "timeout") or failure["kind"] == "status" and failure["status"] != 502:
        return False
    return any(failure["began"] <= gone and began <= failure["ended"] and failure.get("backend") in (None, name)
               for name, began, gone, _ in kills)


def policy_decides(node):
    """Whether a policy on paths decides requests here, and lets the client's through."""
    policy = request_policy("requests-0", "/none")
    node.agent.apply(policy)
    failures = Failures(client := node.client(1, 1, 0))
    time.sleep(1)
    client.stdin.close()
    failures.join(60)
    client.wait()
    decides = not failures.entries
    if not decides:
        node.agent.delete(policy)
    return decides


def load(node, options, watched):
    """(failures, kills, what was done in words, findings)."""
    findings = []
    policy = not options.no_churn and policy_decides(node)
    clients = [node.client(options.connections, options.seed + number, options.rest) for number in range(2)]
    reports = [Failures(client) for client in clients]
    churn = None if options.no_churn else Churn(node, options.seed, policy)
    restarts = Restarts(node, options.seed)
    began = restarted = time.monotonic()
    while time.monotonic() - began < options.minutes * 60 and not findings:
        time.sleep(0.5)
        for one in watched:
            one.sample()
        if time.monotonic() - restarted > options.restart_seconds and not options.no_restarts:
            restarts.step()
            restarted = time.monotonic()
        findings += [churn.failure] if churn and churn.failure else []
        findings += ["a client has ended" for client in clients if client.poll() is not None]
        if sum(len(report.entries) for report in reports) > 2000:
            findings.append("more than 2000 requests have failed")
    if churn:
        churn.stop()
    for client in clients:
        client.stdin.close()
    for report, client in zip(reports, clients):
        report.join(60)
        if client.wait():
            findings.append(f"a client ended with {client.returncode}")
    total = sum((collections.Counter(report.result["total"]) for report in reports if report.result), collections.Counter())
    words = [", ".join(f"{name} {count}" for name, count in sorted(total.items()))]
    if churn:
        words.append(f"{churn.applied} changes, policies {'decide requests' if policy else 'of connections only'}")
    words.append(f"{len(restarts.kills)} backends killed, {restarts.announced} replaced")
    return [entry for report in reports for entry in report.entries], restarts.kills, words, findings


def main():
    options = parse()
    print(f"soak of requests: {options.minutes:g} minutes, seed {options.seed}", flush=True)
    node = Node("json" if options.access_log else "off")
    try:
        watched = [Watched("proxy", node.pid), Watched("agent", node.agent.process.pid),
                   Watched("factory", node.proxy.factory())]
        failures, kills, words, findings = load(node, options, watched)
        print("  " + "\n  ".join(words))
        for server in node.servers.values():
            stop(server)
        try:
            eventually(lambda: watched[0].descriptors() <= watched[0].descriptors_before + 4)
        except AssertionError:
            pass  # said below
        for one in watched:
            findings += one.findings(options.minutes * 60)
        unexplained = [one for one in failures if not explained(one, kills)]
        print(f"  {len(failures)} requests failed, {len(failures) - len(unexplained)} of them because their backend was "
              "killed under them")
        for one in unexplained[:20]:
            near = [(name, *(round(moment - one["began"], 3) for moment in moments)) for name, *moments in kills
                    if moments[0] - 3 < one["ended"] and moments[2] + 3 > one["began"]]
            print(f"  not explained: {one}; kills near it (pod; killed, gone, back, in seconds from its beginning): {near}")
        if unexplained:
            findings.append(f"{len(unexplained)} requests failed that no killed backend explains")
        if node.proxy.serving() != node.pid:
            findings.append("the proxy is not the one that it was")
        if findings:
            print("FAILED:\n  " + "\n  ".join(findings))
            answers = [line for line in node.agent.ctl("metrics").stdout.splitlines()
                       if "istio_requests_total" in line and 'response_code="200"' not in line]
            print("  what was not 200, as the proxy counts:\n" + "\n".join(answers))
            log = [line for line in node.agent.log_tail(100_000).splitlines() if '"direction"' not in line]
            print("  the agent's log:\n" + "\n".join(log[-15:]))
        return 1 if findings else 0
    finally:
        if options.access_log:
            shutil.copyfile(node.agent.log, options.access_log)
        node.remove()


if __name__ == "__main__":
    run_program(main)
