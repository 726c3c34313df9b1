# SPDX-License-Identifier: Apache-2.0
"""Everything that a node tells people: its log, and what meshctl prints."""

import functools
import re

from .agent import binary
from .processes import run

# All commands of meshctl that show something of the mesh, with what they need to be asked; then the others.
_SHOW = {"status": [], "workloads": ["--all"], "services": [], "routes": [], "connections": [], "flows": [],
         "metrics": ["--raw"], "identity": [], "policy get": [], "ca show": [], "policy explain": None}
_OTHERS = {"help", "check", "version", "run", "uninstall", "policy apply", "policy delete", "policy diff", "policy rollback",
           "ca init", "ca revoke", "ca rotate", "ca serve", "ca token"}


@functools.cache
def _commands(*group):
    """What the help of meshctl, or of a group of its commands, lists."""
    text = run(binary("meshctl"), *group, "--help").stdout
    listed = re.findall(r"^  ([a-z]+)(?: \(default\))? ", text.partition("SUBCOMMANDS:")[2], re.MULTILINE)
    groups = {name: _commands(name) for name in listed if not group and name in ("policy", "ca")}
    return [f"{name} {inner}".rstrip() for name in listed for inner in groups.get(name, [""])]


def everything_said(agent, explain):
    """As one text. explain: the arguments of `policy explain` that somebody may want to know about."""
    unknown = set(_commands()) - {*_SHOW, *_OTHERS}
    assert not unknown and set(_SHOW) <= set(_commands()), f"commands of meshctl that this does not know: {unknown}"
    said = [agent.log.read_text(errors="replace"), agent.ctl("ca", "show", "--bundle").stdout,
            agent.ctl("identity").stdout]
    for command, words in _SHOW.items():
        # As JSON there is all that a table has, and more; Prometheus' page is all that is counted.
        form = [] if words == ["--raw"] else ["-o", "json"]
        done = agent.ctl(*command.split(), *(explain if words is None else words), *form, check=False)
        said += [done.stdout, done.stderr]
    return "\n".join(said)
