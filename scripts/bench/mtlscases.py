# SPDX-License-Identifier: Apache-2.0
"""What is measured between two nodes, and what the results have to be."""

import json

import l7load
from l7arms import MESHLOAD
from l7cases import Case, Limit
from mtlsarms import CLIENT, Reference

PEERS = ("envoy", "haproxy")
# Of Envoy's: processor time of both proxies for a request, and for a byte of a long stream.
REQUEST, BULK = 0.5, 0.65
# Of the cipher's own rate, to encrypt and decrypt each byte once; and of the rate of handshakes in memory.
CIPHER, HANDSHAKE = 0.45, 0.7
# Bytes of memory of an idle connection with mutual TLS and HTTP/2; of HAProxy's.
IDLE_BYTES, IDLE_SHARE = 32 << 10, 0.6
# p99 of what is established, while others shake hands.
FLOOD = 1.5
# The same, while all that proves who is who changes.
CHANGE = 1.2
# Seconds after which the mesh's proxy has given back what a connection needs while it moves.
SETTLE = 25


def _read_stream(output):
    found = json.loads(output.splitlines()[-1])
    return {"requests": found["bytes"] / 1024, "seconds": found["seconds"]}


def stream(arm, _case, seconds):
    address, port = arm.address("stream")
    return arm.load([MESHLOAD, "stream", "--address", address, "--port", str(port), "--write-size", "64K", "--seconds",
                     str(seconds)], _read_stream)


def _read_handshakes(output):
    found = json.loads(output.splitlines()[-1])
    return {"requests": found["handshakes"], "seconds": found["seconds"]}


def handshakes(bench, strangers):
    """A load for a Case: `bench` knows what a client shows. strangers: a directory of what many show."""
    def load(arm, _case, seconds):
        if isinstance(arm, Reference):
            return arm.load([], _read_handshakes)
        shown = strangers if arm.name == "mesh-strangers" else None
        return arm.load(bench.client(arm, "handshakes", seconds, shown=shown), _read_handshakes)
    return load


def references(bench, seconds):
    """What OpenSSL alone does, as arms."""
    program = "/usr/bin/python3", CLIENT
    return {"cipher": Reference(*program, "cipher", seconds),
            "memory": Reference(*program, "memory", bench.trust.far, bench.trust.root, seconds)}


def requests():
    pairs = (*(("mesh", peer) for peer in (*PEERS, "direct")), ("mesh-tunnel", "envoy-tunnel"),
             ("mesh-tunnel", "haproxy-tunnel"))
    limits = (Limit("proxy CPU", "envoy", REQUEST), Limit("proxy CPU", "envoy-tunnel", REQUEST, "mesh-tunnel"))
    tunnels = ("mesh-tunnel", *(f"{peer}-tunnel" for peer in PEERS))
    return [
        Case("h1-61B", "h1", "/r5/small", 61, ("mesh", *PEERS, *tunnels, "direct"), limits, pairs=pairs),
        Case("grpc-unary", "grpc", "/mesh.Bench/Unary", 66, ("mesh", *PEERS, "direct"), limits[:1], pairs=pairs[:3])]


def bulk():
    arms = ("mesh-tunnel", "envoy-tunnel", "haproxy-tunnel", "cipher", "direct")
    return Case("bulk", "stream", "", 0, arms, (
        Limit("proxy CPU", "envoy-tunnel", BULK, "mesh-tunnel"),
        Limit("proxy CPU", "cipher", round(1 / CIPHER, 2), "mesh-tunnel")), half=False,
        pairs=tuple(("mesh-tunnel", other) for other in arms[1:]), load=stream, unit="KB")


def accepted(bench, strangers):
    limits = tuple(Limit("proxy CPU", "memory", round(1 / HANDSHAKE, 2), arm) for arm in ("mesh", "mesh-strangers"))
    return Case("handshakes", "tls", "", 0, ("mesh", "mesh-strangers", *PEERS, "memory"), limits,
                half=False, load=handshakes(bench, strangers), unit="handshake",
                pairs=(*(("mesh", peer) for peer in (*PEERS, "memory")), ("mesh-strangers", "memory")))


# At a rate that is far from the most that any arm takes.
ESTABLISHED = Case("established", "h1", "/r5/small", 61, ("mesh", "mesh-elsewhere", "mesh-flood", "mesh-slow"), tuple(
    Limit("p99", "mesh", FLOOD, arm) for arm in ("mesh-flood", "mesh-slow")),
    pairs=(("mesh-elsewhere", "mesh"), ("mesh-flood", "mesh"), ("mesh-flood", "mesh-elsewhere"), ("mesh-slow", "mesh")))
ROTATION = Case("rotation", "h1", "/r5/small", 61, ("mesh", "mesh-rotating"), (Limit("p99", "mesh", CHANGE, "mesh-rotating"),),
                pairs=(("mesh-rotating", "mesh"),))
RATE, FLOOD_RATE, SLOW_COUNT = 2000, 500, 1000


def at_rate(arm, seconds):
    return l7load.at_rate(arm, ESTABLISHED, RATE, seconds)
