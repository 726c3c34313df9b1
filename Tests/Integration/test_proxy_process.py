# SPDX-License-Identifier: Apache-2.0
"""The processes beside a real agent: its socket factory and its proxy, and what outlives whom."""

import os
import signal
import subprocess

import pytest

from harness.agent import binary
from harness.meshed import Meshed
from harness.processes import is_running, run, spawn, stop
from harness.world import eventually


@pytest.fixture
def node():
    made = Meshed(pods=("a", "b"), starts=False)
    agent = made.agent
    # The proxy is another user, and looks for the agent's socket there.
    agent.directory.chmod(0o755)
    agent.proxy = None
    agent.start()
    serving(agent)
    pids = set()
    made.note = lambda: pids.update(one["pid"] for one in agent.json("status")["proxy"]["proxies"])
    made.note()
    yield made
    try:
        made.note()
    except Exception:  # the agent may have ended
        pass
    made.remove()
    for pid in pids:
        if is_running(pid) and b"mesh-proxy" in open(f"/proc/{pid}/cmdline", "rb").read():
            os.kill(pid, signal.SIGKILL)


def serving(agent, but=None, listeners=8):
    """The proxy that serves, when there is one with all its listeners; not the process `but`."""
    found = []

    def look():
        report = agent.json("status")["proxy"]
        found[:] = [report]
        proxies = report["proxies"]
        return (len(proxies) == 1 and proxies[0]["state"] == "serving" and proxies[0]["pid"] != but
                and report["listeners"] == listeners and (report.get("factory") or {}).get("ready"))
    eventually(look, what=f"a proxy that serves: {found}")
    return found[0]


def ports(pod):
    """Ports on which something in the pod listens on the loopback address."""
    lines = run(*pod.enter("cat", "/proc/net/tcp")).stdout.splitlines()[1:]
    return sorted(int(words[1].split(":")[1], 16) for words in map(str.split, lines) if words[3] == "0A")


def test_the_agent_starts_both_and_says_so(node):
    report = serving(node.agent)
    proxy, factory = report["proxies"][0], report["factory"]
    status = dict(line.split(":\t") for line in open(f"/proc/{proxy['pid']}/status").read().splitlines() if ":\t" in line)
    assert status["CapEff"] == "0" * 16 and status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert status["Uid"].split() == ["65532"] * 4
    assert (node.agent.cgroup / "factory" / "cgroup.procs").read_text().split() == [str(factory["pid"])]
    assert len(ports(node.pod("a"))) == 2
    assert proxy["generation"] == report["generation"] and report["proxyRestarts"] == 0
    text = node.agent.ctl("status").stdout
    assert f"pid {proxy['pid']}, serving" in text and f"pid {factory['pid']}, ready, 8 listeners" in text


def test_the_proxy_says_what_makes_its_records(node):
    pid = serving(node.agent)["proxies"][0]["pid"]
    said, = {line.partition("AES-GCM records by ")[2] for line in node.agent.log.read_text().splitlines()
             if f"mesh-proxy[{pid}]: AES-GCM records by " in line}
    flags = set(next(line for line in open("/proc/cpuinfo") if line.startswith(("flags", "Features"))).split())
    version = tuple(map(int, run("openssl", "version").stdout.split()[1].split(".")[:2]))
    is_wide = version < (3, 1) and {"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl", "avx512ifma", "vaes",
                                    "vpclmulqdq", "gfni", "sha_ni"} <= flags
    assert said.startswith("intel-ipsec-mb 1." if is_wide else "OpenSSL: "), said
    assert not is_wide or "libIPSec_MB" in open(f"/proc/{pid}/maps").read()


def test_the_proxy_is_told_to_leave_records_to_openssl(tmp_path):
    argv = [binary("mesh-proxy"), "--agent-socket", tmp_path / "none", "--record-ciphers"]
    refused = run(*argv, "fast", check=False)
    assert refused.returncode == 2 and "'auto' and 'openssl'" in refused.stderr, refused.stderr
    process = spawn(*argv, "openssl", stderr=subprocess.PIPE, text=True)
    try:
        assert "AES-GCM records by OpenSSL: so it was told" in process.stderr.readline()
        assert "libIPSec_MB" not in open(f"/proc/{process.pid}/maps").read()
    finally:
        stop(process)


def test_the_proxy_has_no_right_and_no_descriptor_but_sockets(node):
    """What a proxy that was taken over would have: nothing of BPF, no namespace, no file but its log."""
    pid = serving(node.agent)["proxies"][0]["pid"]
    fields = dict(line.split(":\t") for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(fields[name], 16) == 0, (name, fields[name])
    assert fields["Groups"].strip() in ("", "65532") and fields["Gid"].split() == ["65532"] * 4
    # No new privileges: what the bounding set holds cannot be taken, for nothing can be executed (see ConfinementTests).
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    found = {name: os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    waiting = {"anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[timerfd]", "anon_inode:[signalfd]"}
    others = {name: target for name, target in found.items()
              if not target.startswith("socket:") and target not in waiting}
    # Standard streams: nothing to read, and the agent's log to write to.
    assert set(others.values()) <= {"/dev/null", str(node.agent.log)}, others
    assert set(others) <= {"0", "1", "2"}, others


def test_the_proxy_outlives_the_agent_and_is_adopted(node):
    before, listening = serving(node.agent)["proxies"][0]["pid"], ports(node.pod("a"))
    node.agent.kill()
    assert is_running(before) and ports(node.pod("a")) == listening
    node.agent.start()
    report = serving(node.agent)
    assert report["proxies"][0]["pid"] == before and report["proxyRestarts"] == 0
    assert ports(node.pod("a")) == listening


def test_a_killed_proxy_is_replaced_behind_the_same_listeners(node):
    before, listening = serving(node.agent)["proxies"][0]["pid"], ports(node.pod("a"))
    os.kill(before, signal.SIGKILL)
    report = serving(node.agent, but=before)
    assert report["proxyRestarts"] == 1 and ports(node.pod("a")) == listening


def test_a_killed_factory_is_replaced(node):
    report, listening = serving(node.agent), ports(node.pod("a"))
    os.kill(report["factory"]["pid"], signal.SIGKILL)
    eventually(lambda: node.agent.json("status")["proxy"]["factoryRestarts"] == 1, what="another factory")
    after = serving(node.agent)
    assert after["proxies"] == report["proxies"] and ports(node.pod("a")) == listening


def test_a_pod_that_goes_is_kept_by_nobody(node):
    pod = node.node.delete_pod("b")
    node.agent.write_config("objects.yaml", *node.pod_objects({}))
    serving(node.agent, listeners=4)
    # The pair of devices goes with the last descriptor of the namespace.
    eventually(lambda: not node.node.has_veth_of(pod), what="the end of the pod's namespace")


def test_uninstall_leaves_neither(node):
    report = serving(node.agent)
    agent = node.agent
    agent.ctl("uninstall", "--cgroup", agent.cgroup, "--bpffs", agent.bpffs, "--state-dir", agent.state)
    for pid in (report["proxies"][0]["pid"], report["factory"]["pid"]):
        eventually(lambda: not is_running(pid), what=f"the end of process {pid}")
    assert not (node.agent.cgroup / "factory").exists()


def test_uninstall_without_an_agent_leaves_no_proxy(node):
    agent, proxy = node.agent, serving(node.agent)["proxies"][0]["pid"]
    agent.kill()
    assert is_running(proxy)
    flags = ["--cgroup", agent.cgroup, "--bpffs", agent.bpffs, "--state-dir", agent.state]
    present = agent.ctl("uninstall", "--check", *flags, check=False)
    assert present.returncode == 1 and f"process: mesh-proxy {proxy}" in present.stdout
    done = agent.ctl("uninstall", *flags)
    assert f"process: mesh-proxy {proxy}" in done.stdout
    eventually(lambda: not is_running(proxy), what="the end of the proxy")
    eventually(lambda: agent.ctl("uninstall", "--check", *flags, check=False).returncode == 0,
               what="a check that finds nothing")
