# SPDX-License-Identifier: Apache-2.0
"""testssl.sh (Debian's, 3.0) at the port of tunnels, and which of its findings are none, with the reason."""

import json
import tempfile
from pathlib import Path

from harness.processes import run
from harness.wire import TUNNELS

# Protocols, cipher lists, forward secrecy, the server's order.
_PARTS = ("-p", "-s", "-f", "-P")
MINUTES = 20
# It asks for the address of "invalid." again and again; nobody answers in the pod's namespace, and each time it would wait.
_WITHOUT_NAMES = ("unshare", "--mount", "sh", "-c", "mount --bind /dev/null /etc/resolv.conf && exec \"$@\"", "sh")
_GOOD = ("OK", "INFO")
# What must be found: the name of a finding, and how its text begins.
WANTED = {
    "SSLv2": "not offered", "SSLv3": "not offered", "TLS1": "not offered", "TLS1_1": "not offered", "TLS1_2": "not offered",
    "TLS1_3": "offered with final",
    "PFS_ciphers": "TLS_AES_256_GCM_SHA384 TLS_AES_128_GCM_SHA256", "PFS_ECDHE_curves": "prime256v1 X25519",
}
# Name of a finding -> how its text begins, and why it is no fault of the port.
EXCUSED = {
    "engine_problem": ("No engine or GOST support", "it is about the openssl that testssl.sh runs"),
    "service": ("Couldn't determine service", "it asks for a page, and shows no certificate"),
}


def _findings(port):
    with tempfile.TemporaryDirectory(prefix="mesh-tls-") as directory:
        file = Path(directory) / "found.json"
        done = run(*port.enter(*_WITHOUT_NAMES, "testssl", "--jsonfile", file, "--warnings", "off", "--color", "0", "--quiet", "--nodns", "none",
                               "--openssl", "/usr/bin/openssl", *_PARTS, f"{port.address}:{TUNNELS}"),
                   check=False, text="", timeout=60 * MINUTES)
        if not file.exists():
            raise RuntimeError(f"testssl.sh has found nothing to say: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return json.loads(file.read_text())


def check(port):
    """Texts of what is wrong. port: of the harness, TLSPort."""
    found = _findings(port)
    texts = {one["id"]: one["finding"].strip() for one in found}
    wrong = [f"testssl.sh: {name} is {texts.get(name, 'not told')!r}, not {text!r}" for name, text in WANTED.items()
             if not texts.get(name, "").startswith(text)]
    excused = 0
    for one in found:
        name, text = one["id"], one["finding"].strip()
        if one["severity"] in _GOOD:
            continue
        begins, reason = EXCUSED.get(name, (None, None))
        if begins is None or not text.startswith(begins):
            wrong.append(f"testssl.sh: {one['severity']} {name}: {text}")
            continue
        excused += 1
        print(f"no finding: {name}, {text!r}: {reason}")
    print(f"testssl.sh: {len(found)} findings, of which {len(found) - excused - len(wrong)} are good, {excused} are none")
    return wrong
