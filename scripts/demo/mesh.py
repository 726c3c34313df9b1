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
    def __init__(self, node):
        self.node = node
        self.agent = Agent(node)
        self.agent.proxy = None
        self.policies = self.agent.directory / "policies"
        self.policies.mkdir()

    def write_manifests(self):
        """Copies examples/demo with the names of this node's namespaces."""
        for source, target in ((EXAMPLES / "mesh", self.agent.config), (EXAMPLES / "policies", self.policies),
                               (EXAMPLES / "routes", self.policies)):
            for file in source.glob("*.yaml"):
                text = file.read_text().replace("/run/netns/demo-", f"/run/netns/{self.node.id}-")
                (target / file.name).write_text(text.replace("demo-node", self.node.id))

    def start(self):
        command(_without_path(self.agent.argv()) + " &")
        self.agent.start(wait=False)
        self.agent.wait_ready()

    def ctl(self, *words, shown_as=None, limit=40):
        """Runs meshctl and returns what it prints."""
        command(shown_as or "meshctl " + shlex.join(words))
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
        command(f"meshctl run --pod {NAMESPACE}/{pod} -- {shown_as}")
        text = run(*self.pod_argv(pod, *words)).stdout
        output(text)
        return text


def _without_path(argv):
    return shlex.join([argv[0].name, *map(str, argv[1:])])
