# SPDX-License-Identifier: Apache-2.0
"""Looks for private keys in the memory of processes, as whoever has a core file of them could."""

import re

from .processes import run

SCALAR = 32  # bytes of a private key of P-256
# FIPS 186-5: the field, the order of the group, and the generator of P-256; a is -3.
P = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffff
N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
G = (0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296,
     0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5)


def _double(point):
    """In Jacobian coordinates; so is everything up to the last step."""
    x, y, z = point
    if not y:
        return 0, 1, 0
    square = y * y % P
    s, m = 4 * x * square % P, 3 * (x - z * z) * (x + z * z) % P
    new = (m * m - 2 * s) % P
    return new, (m * (s - new) - 8 * square * square) % P, 2 * y * z % P


def _add_generator(point):
    x, y, z = point
    if not z:
        return *G, 1
    zz = z * z % P
    h, r = (G[0] * zz - x) % P, (G[1] * zz * z - y) % P
    if not h:
        return _double(point) if not r else (0, 1, 0)
    hh = h * h % P
    hhh, v = h * hh % P, x * hh % P
    new = (r * r - hhh - 2 * v) % P
    return new, (r * (v - new) - y * hhh) % P, z * h % P


def public_key(scalar):
    """Both coordinates, as a certificate has them after the byte 4."""
    point = (0, 1, 0)
    for bit in bin(scalar)[2:]:
        point = _double(point)
        if bit == "1":
            point = _add_generator(point)
    inverse = pow(point[2], -1, P)
    x = point[0] * inverse * inverse % P
    y = point[1] * inverse * inverse * inverse % P
    return x.to_bytes(SCALAR, "big") + y.to_bytes(SCALAR, "big")


def mappings(pid):
    """(first address, address after the last, whether core files leave it out) of what can be read."""
    found, current = [], None
    for line in open(f"/proc/{pid}/smaps"):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line)
        if head:
            is_memory = head[3].startswith("r") and not head[4].startswith("[v")
            current = (int(head[1], 16), int(head[2], 16)) if is_memory else None
        elif line.startswith("VmFlags:") and current:
            found.append((*current, "dd" in line.split()))
    return found


def _read(pid, excluded):
    parts = []
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for start, end, is_excluded in mappings(pid):
            if is_excluded != excluded:
                continue
            try:
                memory.seek(start)
                parts.append(memory.read(end - start))
            except OSError:  # gone meanwhile
                pass
    return bytes(16).join(parts)  # keeps what is aligned in each aligned in the whole


def dumpable_memory(pid):
    """Everything that a core file of the process would have, if there were one."""
    return _read(pid, excluded=False)


def find_private_key(pid, certificate):
    """The private key of a PEM certificate in the memory that core files leave out, big endian; None if it is not there."""
    key = run("openssl", "x509", "-noout", "-pubkey", text=certificate).stdout
    text = run("openssl", "pkey", "-pubin", "-noout", "-text", text=key).stdout
    wanted = bytes.fromhex("".join(re.findall(r"^    ([0-9a-f:]+)$", text, re.M)).replace(":", ""))
    assert len(wanted) == 65 and wanted[0] == 4
    kept, tried = _read(pid, excluded=True), set()
    # OpenSSL keeps it as words of 64 bits, the lowest first, in blocks of 32 bytes at least.
    for offset in range(0, len(kept) - SCALAR + 1, 16):
        window = kept[offset:offset + SCALAR]
        scalar = int.from_bytes(window, "little")
        if window.count(0) > 16 or scalar >= N or scalar in tried:
            continue
        tried.add(scalar)
        if public_key(scalar) == wanted[1:]:
            return scalar.to_bytes(SCALAR, "big")
    return None


def scalar_of(path):
    """The first private key of a PEM file, big endian."""
    text = run("openssl", "ec", "-in", path, "-noout", "-text").stdout
    private = re.search(r"priv:\n((?:    [0-9a-f:]+\n)+)", text)[1]
    return int("".join(private.split()).replace(":", ""), 16).to_bytes(SCALAR, "big")
