# SPDX-License-Identifier: Apache-2.0
"""The agent under demonstration, with its own cgroup, pins, state and socket, and meshctl to talk to it."""

import json
import os
import shlex
import shutil
import time
from pathlib import Path

from children import Child, run
from node import Node
from terminal import StepFailed, command, output

ROOT = Path(__file__).resolve().parents[2]
BINARIES = ROOT / ".build" / "debug"
EXAMPLES = ROOT / "examples" / "demo"


def cgroup2_mount() -> Path:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise StepFailed("no cgroup2 file system is mounted; scripts/bootstrap.sh --demo says what to do")


class Mesh:
    """One agent. Everything that it makes has the node's id in its name."""

    def __init__(self, node: Node, directory: Path):
        self.node = node
        self.directory = directory
        self.config = directory / "mesh"
        self.policies = directory / "policies"
        self.socket = directory / "mesh.sock"
        self.cgroup = cgroup2_mount() / node.id
        self.bpffs = Path("/sys/fs/bpf") / node.id
        self.agent: Child | None = None

    def write_manifests(self) -> None:
        """Copies examples/demo with this node's names in it."""
        for kind in ("mesh", "policies"):
            target = self.directory / kind
            target.mkdir()
            for source in (EXAMPLES / kind).glob("*.yaml"):
                text = source.read_text().replace("/run/netns/demo-", f"/run/netns/{self.node.id}-")
                (target / source.name).write_text(text.replace("demo-node", self.node.id))

    def agent_words(self) -> list[str]:
        return [
            "mesh-agent", "--node", self.node.id, "--config-dir", str(self.config),
            "--state-dir", str(self.directory / "state"), "--cgroup", str(self.cgroup),
            "--bpffs", str(self.bpffs), "--socket", str(self.socket),
        ]

    def start(self) -> None:
        words = self.agent_words()
        command(shlex.join(words) + " &")
        argv = [*self.node.inside(self.node.netns), str(BINARIES / words[0]), *words[1:]]
        self.agent = Child("mesh-agent", argv, self.directory / "agent.log")
        deadline = time.monotonic() + 20
        while not self.socket.exists():
            if not self.agent.running:
                raise StepFailed(f"mesh-agent ended: {self.agent.explain()}")
            if time.monotonic() > deadline:
                raise StepFailed(f"mesh-agent does not listen after 20 s: {self.agent.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def argv(self, *words: str) -> list[str]:
        """The real command behind `meshctl WORDS`."""
        return [str(BINARIES / "meshctl"), *words[:1], "--socket", str(self.socket), *words[1:]]

    def ctl(self, *words: str, shown_as: str | None = None, limit: int = 40) -> str:
        """Shows a meshctl command, runs it, shows what it prints and returns that."""
        command(shown_as or "meshctl " + shlex.join(words))
        text = run(*self.argv(*words))
        output(text, limit)
        return text

    def json(self, *words: str):
        """What a meshctl command says, as values; not shown."""
        return json.loads(run(*self.argv(*words, "-o", "json")))

    def pod_argv(self, pod: str, *words: str) -> list[str]:
        """A command inside a pod: in its network namespace and under the mesh's cgroup."""
        return self.argv("run", "--pod", f"demo/{pod}", "--", *words)

    def in_pod(self, pod: str, *words: str, shown_as: str) -> str:
        command(f"meshctl run --pod demo/{pod} -- {shown_as}")
        text = run(*self.pod_argv(pod, *words))
        output(text)
        return text

    def remove(self) -> list[str]:
        """Removes what is there, in whatever state the demo ended. Returns what could not be removed."""
        problems = []
        if self.agent is not None and self.agent.running:
            try:
                run(*self.argv("uninstall"), timeout=20)
            except StepFailed as error:
                problems.append(str(error))
            self.agent.stop()
        try:
            remove_kernel_state(self.node.id)
        except OSError as error:
            problems.append(str(error))
        return problems


def remove_kernel_state(identifier: str) -> None:
    """Ends the processes of a demo's cgroup, removes the cgroup and the pins. All may be gone already."""
    cgroup = cgroup2_mount() / identifier
    if cgroup.is_dir():
        (cgroup / "cgroup.kill").write_text("1")
        for path in sorted((p for p in cgroup.rglob("*") if p.is_dir()), reverse=True):
            _remove_cgroup(path)
        _remove_cgroup(cgroup)
    pins = Path("/sys/fs/bpf") / identifier
    if pins.is_dir():
        shutil.rmtree(pins)


def _remove_cgroup(path: Path) -> None:
    deadline = time.monotonic() + 5
    while True:
        try:
            return os.rmdir(path)
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
