# SPDX-License-Identifier: Apache-2.0
"""The real mesh-agent over a node, with a cgroup, pins, state and socket of its own."""

import atexit
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

from . import manifests
from .admin import AdminConnection
from .node import cgroup2_mount, remove_cgroup
from .processes import PATIENCE, CommandFailed, root_of_repository, run, spawn, stop


def binary(name):
    """The built program. MESH_BUILD chooses the configuration: debug (default) or release."""
    path = root_of_repository() / ".build" / os.environ.get("MESH_BUILD", "debug") / name
    if not path.exists():
        raise RuntimeError(f"{path} is not built; run make build")
    return path


# What tests ask for again and again: method of the admin protocol and its arguments, for words of `meshctl WORDS -o json`.
# A process each time would be a fifth of all their work.
_ASKED = {
    ("status",): ("status", {"wait": False}),
    ("workloads",): ("workloads", {"all": False}),
    ("workloads", "--all"): ("workloads", {"all": True}),
    ("services",): ("services", {}),
    ("connections",): ("connections", {}),
    ("routes",): ("routes", {}),
    ("flows",): ("flows", {"follow": False, "filter": {}}),
    ("flows", "--verdict", "denied"): ("flows", {"follow": False, "filter": {"verdict": "denied"}}),
}


class Agent:
    def __init__(self, node, objects=()):
        """objects: the first configuration; `write_config` changes it."""
        self.node = node
        self.directory = Path(tempfile.mkdtemp(prefix=f"{node.id}-", dir="/run"))
        self.config = self.directory / "config"
        self.config.mkdir()
        self.socket = self.directory / "mesh.sock"
        self.state = self.directory / "state"
        self.cgroup = cgroup2_mount() / node.id
        self.bpffs = Path("/sys/fs/bpf") / node.id
        self.log = self.directory / "agent.log"
        self.process = None
        self.proxy = "none"  # what --proxy says; None: nothing, so that the agent takes the mesh-proxy beside it
        self.options = []  # further words of the command line
        self.environment = {}  # variables that differ from our own
        atexit.register(self.remove)
        if objects:
            self.write_config("objects.yaml", *objects)

    def write_config(self, name, *objects):
        manifests.write(self.config / name, *objects)

    def argv(self):
        return [binary("mesh-agent"), "--node", self.node.id, "--config-dir", self.config, "--state-dir", self.state,
                "--cgroup", self.cgroup, "--bpffs", self.bpffs, "--socket", self.socket,
                *(["--proxy", self.proxy] if self.proxy else []), *self.options]

    def start(self, wait=True):
        with self.log.open("ab") as log:
            self.process = spawn(*self.node.enter(*self.argv()), stdout=log, stderr=log,
                                 env={**os.environ, **{name: str(value) for name, value in self.environment.items()}})
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        while not self._listens():
            if self.process.poll() is not None:
                raise RuntimeError(f"mesh-agent ended with {self.process.returncode}: {self.log_tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"mesh-agent does not answer after {timeout} s: {self.log_tail()}")
            time.sleep(0.005)
        try:
            with AdminConnection(self, timeout + 5) as admin:
                admin.call("status", {"wait": True, "timeoutSeconds": timeout})
        except (CommandFailed, OSError) as failure:
            raise RuntimeError(f"{failure}: {self.log_tail()}") from failure

    def _listens(self):
        """Whether an agent is behind the socket file, which one that was killed leaves."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            return client.connect_ex(str(self.socket)) == 0

    def log_tail(self, lines=30):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def ctl_argv(self, *words):
        return [binary("meshctl"), *words[:1], "--socket", self.socket, *words[1:]]

    def ctl(self, *words, check=True, timeout=PATIENCE, text=None):
        """Runs meshctl; `words` begin with the command ("policy apply" and "ca show" are two words)."""
        command, rest = words[:1], words[1:]
        if command[0] in ("policy", "ca"):
            command, rest = words[:2], words[2:]
        return run(binary("meshctl"), *command, "--socket", self.socket, *rest, check=check, timeout=timeout, text=text)

    def json(self, *words):
        """What `meshctl WORDS -o json` prints."""
        if words not in _ASKED:
            return json.loads(self.ctl(*words, "-o", "json").stdout)
        with AdminConnection(self) as admin:
            items = admin.call(*_ASKED[words])
        return items[0] if words == ("status",) else items

    def apply(self, *objects):
        """As `meshctl policy apply` does: returns when the kernel enforces the objects. Its report."""
        with AdminConnection(self) as admin:
            return admin.apply(*objects)

    def delete(self, *objects):
        with AdminConnection(self) as admin:
            for item in objects:
                admin.delete(item)

    def runtime_argv(self, pod, *argv):
        """The command in the pod's namespace and in the hooked cgroup, as a runtime starts a container: not by meshctl."""
        cgroup = self.cgroup / f"runtime-{pod.name}"
        cgroup.mkdir(exist_ok=True)
        return ["sh", "-c", f"echo $$ > {cgroup}/cgroup.procs && exec \"$@\"", "sh", *pod.enter(*argv)]

    def run_argv(self, pod, *argv, namespace=manifests.NAMESPACE):
        return [binary("meshctl"), "run", "--socket", self.socket, "--timeout", f"{PATIENCE:.0f}s",
                "--pod", f"{namespace}/{pod.name}", "--", *argv]

    def kill(self):
        """kill -9, as the out-of-memory killer does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        return stop(self.process, grace=10.0) if self.process else None

    def cpu_seconds(self):
        """User and system time so far: what its work costs, whatever else the machine does."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_kilobytes(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError("no VmRSS")

    def remove(self):
        """Everything of this agent, in whatever state a test left it. The programs go with their last pin."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        remove_cgroup(self.cgroup)
        shutil.rmtree(self.bpffs, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.remove)  # now, not before: what interrupts this is made good at exit
