# SPDX-License-Identifier: Apache-2.0
"""The agent under demonstration: commands are shown as they are run, and so is what they print."""

import json
import shlex

from harness.agent import Agent
from harness.processes import root_of_repository, run
from terminal import command, output

EXAMPLES = root_of_repository() / "examples" / "demo"
NAMESPACE = "demo"


class Mesh:
    def __init__(self, node, word="meshctl"):
        """word: what stands for meshctl with this agent's socket in what is shown."""
        self.node = node
        self.word = word
        self.agent = Agent(node)
        self.agent.proxy = None
        self.policies = self.agent.directory / "policies"
        self.policies.mkdir()

    def write_manifests(self, nodes, *directories):
        """Copies directories of examples/demo to the agent's configuration, and what is to be applied later. nodes: how the
        manifests call them -> node, by whose names theirs and those of their namespaces are replaced."""
        places = [(name, self.agent.config) for name in directories] + [(name, self.policies) for name in ("policies", "routes")]
        for source, target in places:
            for file in (EXAMPLES / source).glob("*.yaml"):
                text = file.read_text()
                for name, node in nodes.items():
                    text = text.replace(f"/run/netns/{name}-", f"/run/netns/{node.id}-").replace(f"{name}-node", node.id)
                (target / f"{source}-{file.name}").write_text(text)

    def start(self):
        command(_without_path(self.agent.argv()) + " &")
        self.agent.start(wait=False)
        self.agent.wait_ready()

    def ctl(self, *words, shown_as=None, limit=40):
        """Runs meshctl and returns what it prints."""
        command(f"{self.word} {shown_as or shlex.join(words)}")
        text = self.agent.ctl(*words).stdout
        output(text, limit)
        return text

    def json(self, *words):
        """What a meshctl command says, as values; not shown."""
        return json.loads(self.agent.ctl(*words, "-o", "json").stdout)

    def pod_argv(self, pod, *words):
        """A command inside a pod: in its network namespace and under the mesh's cgroup."""
        return self.agent.run_argv(self.node.pods[pod], *words, namespace=NAMESPACE)

    def in_pod(self, pod, *words, shown_as):
        command(f"{self.word} run --pod {NAMESPACE}/{pod} -- {shown_as}")
        text = run(*self.pod_argv(pod, *words)).stdout
        output(text)
        return text


def _without_path(argv):
    return shlex.join([argv[0].name, *map(str, argv[1:])])
