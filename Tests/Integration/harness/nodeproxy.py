# SPDX-License-Identifier: Apache-2.0
"""The real proxy of a node: starting it with the agent, waiting for it, and ending what outlives the agent."""

import os
from pathlib import Path

from .agent import binary
from .processes import PATIENCE, is_running
from .world import eventually


class NodeProxy:
    def __init__(self, agent):
        self.agent = agent
        self._pids = set()

    def start_agent(self, write=lambda: None, words=()):
        """The agent, again if it runs, with a proxy; `write` puts more into its configuration in between. words: further ones of
        the agent's command line."""
        self.agent.stop()
        # The proxy is another user, and looks for the agent's socket there.
        self.agent.directory.chmod(0o755)
        binary("mesh-proxy")  # says so if it is not built: the agent would do without
        self.agent.proxy, self.agent.options = None, list(words)
        write()
        self.agent.start()

    def report(self):
        report = self.agent.json("status")["proxy"]
        self._pids.update(one["pid"] for one in report["proxies"])
        return report

    def serving(self, but=None, listeners=None, timeout=PATIENCE):
        """The process that serves with everything that it has been told, when there is one; not the process `but`.
        listeners: how many it has to have."""
        def look():
            report = self.report()
            proxies = report["proxies"]
            return (len(proxies) == 1 and proxies[0]["state"] == "serving" and proxies[0]["pid"] != but
                    and proxies[0]["generation"] == report["generation"] and listeners in (None, report["listeners"])
                    and (report.get("factory") or {}).get("ready") and proxies[0]["pid"])
        return eventually(look, timeout=timeout, what="a proxy that serves")

    def factory(self):
        return self.report()["factory"]["pid"]

    def end(self):
        """Ends proxies that have outlived the agent."""
        for pid in self._pids:
            if is_running(pid) and b"mesh-proxy" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, 9)
