# SPDX-License-Identifier: Apache-2.0
"""`make tls`: what testssl.sh and a fuzzer find at the port of tunnels (15008) of a pod, from a pod outside of the mesh.

Exit status 0 only if it speaks TLS 1.3 with the suites and groups of docs/identity.md to who shows a certificate of the mesh, and
nothing else was found but what testssl.py lists by name, with the reason.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Tests" / "Integration"))

import testssl  # noqa: E402 (the path above is needed first)
from harness.processes import own_memory, run_program  # noqa: E402
from harness.tls_port import TLSPort  # noqa: E402
from harness.two_nodes import DOMAIN, TwoNodes, outcome  # noqa: E402

# Growth of the far proxy by all of the fuzzing, in bytes, that is no leak.
GROWTH = 1 << 20


def strangers(port):
    """Texts of what is not as it should be for who has no certificate, or none of the mesh."""
    wrong = []
    for what, context in (("h2", port.context(svid=None)), ("no protocol", port.context(svid=None, alpn=()))):
        reason = port.refusal(context)
        if reason != "TLSV13_ALERT_CERTIFICATE_REQUIRED":
            wrong.append(f"a client without a certificate, of {what}: {reason or 'accepted'}")
    if reason := port.refusal(port.context()):
        wrong.append(f"a client with a certificate of the mesh: {reason}")
    return wrong


def fuzzing(mesh, port, options):
    """Texts of what is wrong."""
    pid, wrong = mesh.there.proxy.serving(), []
    # What is made once, and kept.
    port.fuzz(150, options.seed)
    before = own_memory(pid)
    port.fuzz(options.connections, options.seed + 1)
    print(f"{options.connections} connections with something wrong in the first record, in an encrypted one, or in an encrypted message")
    if mesh.there.proxy.serving() != pid:
        wrong.append("the proxy was started anew")
    elif (growth := own_memory(pid) - before) > GROWTH:
        wrong.append(f"the proxy has grown by {growth >> 10} KiB")
    if (found := outcome(mesh, "a", "x")) != "ok":
        wrong.append(f"a tunnel after all of it: {found}")
    return wrong


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=5000, help="with something wrong (5000)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of all random choices")
    parser.add_argument("--without-testssl", action="store_true", help="the fuzzer alone")
    return parser.parse_args()


def main():
    options = parse()
    mesh = TwoNodes()
    try:
        port = TLSPort(mesh, DOMAIN, "u", "x")
        wrong = strangers(port)
        wrong += fuzzing(mesh, port, options)
        if not options.without_testssl:
            wrong += testssl.check(port)
    finally:
        mesh.remove()
    for text in wrong:
        print(f"FOUND  {text}")
    print(f"{len(wrong) or 'no'} findings; seed {options.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    run_program(main)
