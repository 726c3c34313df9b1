# SPDX-License-Identifier: Apache-2.0
"""`make kernels`: boots Debian's kernels in virtual machines (no KVM needed) and tells what of the product works there.

    main.py [--kernel NAME]... [--keep]     NAME: 6.1, 6.12; default: both. --keep: the logs stay though all is well

Exit codes: 0 on each kernel everything worked that docs/compatibility.md promises for it, 1 something did not.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Tests" / "Integration"))

from harness.processes import root_of_repository, spawn, stop  # noqa: E402 (the path above is needed first)
from image import PACKAGES, Image, Kernel  # noqa: E402

MINUTES = 20
MEGABYTES = 3072
# What may fail on a kernel without contradicting docs/compatibility.md: there the product says why and goes on by TCP.
OPTIONAL = ("fast path", "check: ")


def boot(kernel, archive, log):
    """Runs the machine to its end; the lines of its console."""
    build = os.environ.get("MESH_BUILD", "debug")
    # TCG, since a virtual machine seldom has KVM inside; `max` is what TCG can do.
    argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEGABYTES,
            "-kernel", kernel.image, "-initrd", archive, "-nodefaults", "-display", "none", "-serial", "stdio",
            "-no-reboot", "-append", f"console=ttyS0 quiet panic=-1 mesh_build={build}"]
    with log.open("wb") as out:
        machine = spawn("nice", "-n", "19", *argv, stdout=out, stderr=subprocess.STDOUT)
        try:
            machine.wait(MINUTES * 60)
        except subprocess.TimeoutExpired:
            print(f"kernels: {kernel.release} was not done in {MINUTES} minutes", file=sys.stderr)
        finally:
            stop(machine)
    return log.read_text(errors="replace").splitlines()


def report(kernel, lines, log):
    """Prints what was found; whether it is what is promised."""
    found = []
    for line in lines:
        _, word, text = line.partition("RESULT {")
        if word:
            found.append(json.loads("{" + text))
    ended = any("kernels: smoke ended with 0" in line for line in lines)
    print(f"\n{kernel.release}")
    for item in found:
        mark = "ok" if item["works"] else "no"
        print(f"  {mark}  {item['name']:45}{item['detail'].splitlines()[0] if item['detail'] else ''}")
    wrong = [item["name"] for item in found if not item["works"] and not item["name"].startswith(OPTIONAL)]
    if wrong or not ended:
        print(f"  FAILED: {', '.join(wrong) or 'the smoke test did not come to its end'}; the console is in {log}")
        return False
    return True


def main():
    parser = argparse.ArgumentParser(description="what of the product works on which kernel")
    parser.add_argument("--kernel", action="append", choices=sorted(PACKAGES))
    parser.add_argument("--keep", action="store_true", help="keep the consoles' logs though all is well")
    options = parser.parse_args()
    place = root_of_repository() / ".build" / "kernels"
    image = None
    good = True
    for name in options.kernel or PACKAGES:
        kernel = Kernel(name)
        image = image or Image(place)
        archive, log = place / f"{name}.cpio", place / f"{name}.log"
        image.archive(kernel, archive)
        began = time.monotonic()
        well = report(kernel, boot(kernel, archive, log), log)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
        archive.unlink()
        if well and not options.keep:
            log.unlink()
        good = good and well
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
