# SPDX-License-Identifier: Apache-2.0
"""Everything that is measured, one after another: same-node traffic, what size costs, how fast a denial cuts.

Exit status 1 if a limit is missed. The last lines say for each what came out.
"""

import argparse

import cut
import main as same_node
import policy
from harness.processes import run_program

# What -> its main and the options that make it fail where a limit is missed.
PARTS = {"same-node": (same_node.main, ["--check"]), "policy": (policy.main, []), "cut": (cut.main, [])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="each of them short; nothing is written")
    options = parser.parse_args()
    failed, lines = False, []
    for name, (part, arguments) in PARTS.items():
        print(f"== {name}", flush=True)
        status, line = part(arguments + (["--quick"] if options.quick else []))
        failed = failed or status != 0
        lines.append(f"{name:10} {line}")
    print("\n".join(["==", *lines]))
    return 1 if failed else 0


if __name__ == "__main__":
    run_program(main)
