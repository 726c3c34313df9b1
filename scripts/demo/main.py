# SPDX-License-Identifier: Apache-2.0
"""`make demo`: a mesh on this machine, shown step by step.

Exits 0 if every step showed what it says, 1 if one did not, 130 after Ctrl-C; in each case after cleaning up.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Tests" / "Integration"))

from harness.node import Node, sweep  # noqa: E402 (the path above is needed first)
from harness.processes import CommandFailed  # noqa: E402
from mesh import Mesh  # noqa: E402
from steps import Demo  # noqa: E402
from terminal import StepFailed, failed  # noqa: E402

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_on_signal(number, _frame):
    # A second one must not stop the cleaning up.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    if os.geteuid() != 0:
        failed("make demo needs root: it makes network namespaces and loads BPF programs")
        return 1
    sweep()
    for number in SIGNALS:
        signal.signal(number, stop_on_signal)
    node = mesh = demo = None
    status = 1
    try:
        node = Node("demo")
        mesh = Mesh(node)
        demo = Demo(node, mesh)
        demo.run()
        status = 0
    except (StepFailed, CommandFailed, RuntimeError) as error:
        failed("\n".join([str(error), *(f"The last lines of the log of an agent:\n{log_tail(each)}"
                                        for each in (mesh, demo and demo.second) if each)]))
    except SystemExit as stop:
        status = stop.code
        failed("stopped; cleaning up")
    finally:
        for part in (demo, mesh and mesh.agent, node):
            if part is not None:
                part.remove()
    if status == 0:
        print("\nEvery step showed what it says, and everything it made is gone.")
    return status


def log_tail(mesh):
    return mesh.agent.log_tail(20) if mesh.agent.log.exists() else "(it was not started)"


if __name__ == "__main__":
    sys.exit(main())
