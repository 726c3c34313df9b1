# SPDX-License-Identifier: Apache-2.0
"""Connects without pause, and notes between which generations each outcome lies. Runs in a pod, alone."""

import collections
import errno
import json
import os
import socket
import struct
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

from kernel import Generation

ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST, no port is held


def main(bpffs, port, *addresses):
    """Until standard input ends; then prints [[generation before, after, outcome, times]]."""
    os.nice(10)  # the changes have to get their turn as well
    generation = Generation(SimpleNamespace(bpffs=Path(bpffs)))
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    heard = collections.Counter()
    families = [(socket.AF_INET6 if ":" in address else socket.AF_INET, (address, int(port))) for address in addresses]
    print("ready", flush=True)
    while not ended.is_set():
        for family, address in families:
            with socket.socket(family, socket.SOCK_STREAM) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                before = generation.value
                status = one.connect_ex(address)
                heard[before, generation.value, errno.errorcode[status] if status else "ok"] += 1
    json.dump([[*key, times] for key, times in heard.items()], sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
