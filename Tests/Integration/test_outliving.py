# SPDX-License-Identifier: Apache-2.0
"""Agent, socket factory and proxy, killed under traffic in every order: what goes on, and what comes back how soon."""

import os
import shutil
import signal
import time

import pytest

from harness.agent import binary
from harness.processes import is_running
from harness.routed import Steady, http_route, to
from harness.world import eventually, fastest

SOON = 0.5


@pytest.fixture
def traffic(routed):
    """Clients of a Service with a route, and of one that the kernel serves alone."""
    routed.routes(http_route("lasting", [{"backendRefs": [to("v2")]}]))
    eventually(lambda: routed.clients["a"].ask().get("answer", {}).get("pod") == "c", what="the route")
    with Steady(routed.meshed, "a", "web") as web, Steady(routed.meshed, "o", "plain") as plain:
        for one in (web, plain):
            one.until(time.monotonic())
        yield web, plain
    routed.routes()


def kill(routed, victim):
    if victim == "agent":
        routed.agent.kill()
        return
    report = routed.proxy()
    pid = report["factory"]["pid"] if victim == "factory" else report["proxies"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_running(pid), what=f"the end of the {victim}")


@pytest.mark.alone
@pytest.mark.parametrize("victims", [("proxy",), ("factory",), ("agent",), ("proxy", "agent"), ("agent", "proxy")],
                         ids=" then ".join)
def test_what_is_killed_comes_back_at_once(routed, traffic, victims):
    web, plain = traffic

    def seconds():
        """From when there is everybody again, or can be, to the last request that failed."""
        proxy = routed.serving()
        listening = routed.proxy()["listeners"]
        for victim in victims:
            if victim == "proxy" and "agent" in victims[:1]:
                os.kill(proxy, signal.SIGKILL)  # there is nobody to ask for its number
            else:
                kill(routed, victim)
        back = time.monotonic()
        if "agent" in victims:
            routed.agent.start()
            back = time.monotonic()
        served, kernel = web.until(back + SOON), plain.until(back + SOON)
        assert kernel["failed"] == []
        if victims == ("factory",):
            assert served["failed"] == []
        report = routed.proxy()
        routed.serving(but=proxy if "proxy" in victims else None)
        assert report["listeners"] == listening
        assert "in use" not in routed.agent.log_tail(200)
        return max((began - back for began, _ in served["failed"]), default=0.0)
    assert fastest(seconds, SOON, times=3) < SOON


def test_requests_wait_for_an_agent_that_starts_again(routed, traffic):
    web, plain = traffic
    proxy = routed.serving()
    routed.agent.kill()
    # Kept connections serve on; a new one to an endpoint needs the agent, and is waited for.
    routed.agent.start()
    assert routed.serving() == proxy
    for one in (web, plain):
        assert one.until(time.monotonic())["failed"] == []


def test_a_program_that_does_not_stay_up_is_said_and_waited_for_where_it_is_needed(routed):
    program = routed.agent.directory / "broken-proxy"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    running = routed.serving()
    routed.agent.stop()
    os.kill(running, signal.SIGKILL)
    routed.agent.proxy = program
    try:
        routed.agent.start()  # and is ready: nothing needs a proxy
        finding = eventually(lambda: next((one for one in routed.agent.json("status")["findings"]
                                           if "exit status 3" in one["message"]), None), what="what is wrong")
        assert finding["message"].startswith(f"degraded: the node's proxy, {program}, does not run: "), finding
        assert routed.agent.json("status")["ready"]
        routed.agent.write_config("routes.yaml", http_route("lasting", [{"backendRefs": [to("v2")]}]))
        eventually(lambda: not routed.agent.json("status")["ready"], what="a node that is not ready")

        def wait():
            return routed.agent.ctl("status", "--wait", "--timeout", "0.1", check=False)
        eventually(lambda: "exit status 3" in wait().stderr, what="why it is not ready")
        waited = wait()
        assert waited.returncode == 7, waited
        assert "needed for connections to Services with routes: refused, or without effect" in waited.stderr, waited
        routed.agent.write_config("routes.yaml")
        eventually(lambda: routed.agent.json("status")["ready"], what="a node that needs no proxy")
    finally:
        routed.agent.stop()
        routed.agent.proxy = None
        routed.agent.start()
        routed.serving()


def test_a_new_program_takes_over_without_a_failed_request(routed):
    directory = routed.agent.directory / "bin"
    directory.mkdir()
    program = directory / "mesh-proxy"
    shutil.copy(binary("mesh-proxy"), program)
    routed.agent.proxy = program
    running = routed.serving()
    routed.agent.stop()
    os.kill(running, signal.SIGKILL)  # of another file
    routed.agent.start()
    try:
        routed.routes(http_route("lasting", [{"backendRefs": [to("v2")]}]))
        eventually(lambda: routed.clients["a"].ask().get("answer", {}).get("pod") == "c", what="the route")
        with Steady(routed.meshed, "a", "web") as one, Steady(routed.meshed, "o", "web") as two:
            before = routed.serving()
            # The file that runs is the one that is installed: nothing happens.
            routed.agent.process.send_signal(signal.SIGHUP)
            for client in (one, two):
                client.until(time.monotonic())
            assert routed.serving() == before
            shutil.copy(program, directory / "new")
            (directory / "new").rename(program)
            routed.agent.process.send_signal(signal.SIGHUP)
            after = routed.serving(but=before)
            eventually(lambda: not is_running(before), what="the end of the old process")
            for client in (one, two):
                assert client.until(time.monotonic())["failed"] == []
            assert routed.serving() == after
            report = routed.proxy()
            assert report["proxyRestarts"] == 0 and os.path.samefile(f"/proc/{after}/exe", program)
    finally:
        routed.routes()
        routed.agent.stop()
        routed.agent.proxy = None
        routed.agent.start()
        routed.serving()
