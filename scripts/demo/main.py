# SPDX-License-Identifier: Apache-2.0
"""`make demo`: a mesh on this machine, shown step by step.

Exits 0 if every step showed what it says, 1 if one did not, 130 after Ctrl-C; in each case after cleaning up.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from children import Child
from mesh import Mesh, remove_kernel_state
from node import Node, left_by_killed_demos, remove_namespaces_of
from steps import Demo
from terminal import StepFailed, failed, say


def stop_on_signal(number: int, _frame) -> None:
    sys.exit(128 + number)


def clean_up(children: list[Child], mesh: Mesh, node: Node, directory: Path) -> list[str]:
    """Removes everything. A second Ctrl-C does not stop it half-way."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for child in reversed(children):
        child.stop(grace=1)
    problems = mesh.remove() + node.remove()
    shutil.rmtree(directory, ignore_errors=True)
    return problems


def main() -> int:
    if os.geteuid() != 0:
        failed("make demo needs root: it makes network namespaces and loads BPF programs")
        return 1
    for identifier in left_by_killed_demos():
        say(f"Removing what the killed demo {identifier} left.")
        remove_kernel_state(identifier)
        remove_namespaces_of(identifier)
        shutil.rmtree(Path("/run") / identifier, ignore_errors=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_on_signal)
    node = Node()
    directory = Path("/run") / node.id
    directory.mkdir(mode=0o755)
    mesh = Mesh(node, directory)
    demo = Demo(node, mesh, directory)
    status = 1
    try:
        demo.run()
        status = 0
    except StepFailed as error:
        failed(str(error))
        if mesh.agent is not None:
            tail = mesh.agent.log.read_text(errors="replace").splitlines()[-20:]
            print("The last lines of the agent's log:", *tail, sep="\n  ", file=sys.stderr)
    except SystemExit as stop:
        status = int(stop.code or 0)
        failed("stopped; cleaning up")
    finally:
        problems = clean_up(demo.children, mesh, node, directory)
    for problem in problems:
        failed(f"could not clean up: {problem}")
    if status == 0 and not problems:
        print("\nEvery step showed what it says, and everything it made is gone.")
    return status or (1 if problems else 0)


if __name__ == "__main__":
    sys.exit(main())
