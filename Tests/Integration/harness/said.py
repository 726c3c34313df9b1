# SPDX-License-Identifier: Apache-2.0
"""Everything that a node tells people: its log, and what meshctl prints."""

import re

from .agent import binary
from .processes import run

# All commands of meshctl that show something, with what they need to be asked; then those that change something.
_SHOW = {"check": ["--all"], "status": [], "workloads": ["--all"], "services": [], "routes": [], "connections": [], "flows": [],
         "metrics": [], "identity": [], "version": [], "policy get": [], "ca show": [], "policy explain": None}
_CHANGE = {"run", "uninstall", "policy apply", "policy delete", "policy diff", "policy rollback", "ca init", "ca rotate"}


def _commands(*group):
    """What the help of meshctl, or of a group of its commands, lists."""
    text = run(binary("meshctl"), *group, "--help").stdout
    listed = re.findall(r"^  ([a-z]+)(?: \(default\))? ", text.partition("SUBCOMMANDS:")[2], re.MULTILINE)
    for name in listed:
        inner = _commands(name) if not group and name in ("policy", "ca") else []
        yield from (f"{name} {each}" for each in inner) if inner else [name]


def everything_said(agent, explain):
    """As one text. explain: the arguments of `policy explain` that somebody may want to know about."""
    known = {*_SHOW, *_CHANGE}
    listed = set(_commands())
    assert listed - {"help"} == known, f"a command of meshctl is not among those that this looks at: {listed ^ known}"
    said = [agent.log.read_text(errors="replace"), agent.ctl("ca", "show", "--bundle").stdout,
            agent.ctl("metrics", "--raw").stdout, agent.ctl("policy", "rollback", "--list").stdout]
    for command, words in _SHOW.items():
        for form in ("table", "json"):
            done = agent.ctl(*command.split(), *(explain if words is None else words), "-o", form, check=False)
            said += [done.stdout, done.stderr]
    return "\n".join(said)
