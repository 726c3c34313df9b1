# SPDX-License-Identifier: Apache-2.0
"""What is measured of the node proxy, and what the results have to be."""

from dataclasses import dataclass

PEERS = ("envoy", "haproxy", "nginx")


@dataclass(frozen=True)
class Limit:
    """A figure of arm `arm` is at most `most` times that of `other`. `within_spread`: the nearer end of the interval
    counts."""
    figure: str
    other: str
    most: float
    arm: str = "mesh"
    within_spread: bool = False

    def kept(self, ratio, spread):
        return (spread[0] if self.within_spread else ratio) <= self.most

    def text(self):
        return f"<= {self.most:.2f}{' within spread' if self.within_spread else ''}"


@dataclass(frozen=True)
class Case:
    name: str
    protocol: str  # h1, h2, grpc, or what `load` makes of it
    path: str
    body: int      # bytes of the response's body
    arms: tuple
    limits: tuple
    half: bool = True   # measured at half load, too
    routes: tuple = ()  # (arm, to how many of its routes the requests go); else all go to `path`
    pairs: tuple = ()   # (arm, other) whose ratios are shown; else those of the mesh
    load: object = None  # load(arm, case, seconds) in place of requests
    unit: str = "request"


# Figure -> unit and key of a measurement.
FIGURES = {
    "proxy CPU": ("us/request", "proxy_us"), "path CPU": ("us/request", "path_us"),
    "most": ("requests/s", "per_second"), "p50 at half load": ("us", "p50_us"), "p99 at half load": ("us", "p99_us"),
    "proxy CPU at half load": ("us/request", "half_proxy_us"), "path CPU at half load": ("us/request", "half_path_us")}


def _limits(proxy, p99):
    """proxy: peer -> share of its processor time; the whole path's is below every peer's."""
    limits = [Limit("proxy CPU", peer, most) for peer, most in proxy.items()]
    limits += [Limit("path CPU", peer, 1.0) for peer in proxy]
    return tuple(limits + ([Limit("p99 at half load", "haproxy", 1.1, within_spread=True)] if p99 else []))


def all_cases():
    h1 = {"envoy": 0.25, "haproxy": 0.65, "nginx": 0.65}
    h2 = {"envoy": 0.35, "haproxy": 0.90}
    return [
        Case("h1-61B", "h1", "/r5/small", 61, ("mesh", *PEERS, "direct"), _limits(h1, True)),
        Case("h1-10KB", "h1", "/r5/10k", 10 << 10, ("mesh", *PEERS, "direct"), _limits(h1, True)),
        Case("h1-policy", "h1", "/r5/small", 61, ("mesh", "mesh-policy"),
             (Limit("proxy CPU", "mesh", 1.10, "mesh-policy"),), half=False),
        Case("h1-10000-routes", "h1", "/r5/small", 61, ("mesh", "mesh-10000"),
             (Limit("proxy CPU", "mesh", 1.05, "mesh-10000"),), half=False,
             routes=(("mesh", 10), ("mesh-10000", 10_000))),
        Case("h2-61B", "h2", "/r5/small", 61, ("mesh", "envoy", "haproxy", "direct"), _limits(h2, False)),
        Case("grpc-unary", "grpc", "/mesh.Bench/Unary", 66, ("mesh", *PEERS, "direct"), _limits(h2, False)),
    ]


# Bytes of the proxy's memory for an idle connection of a client, and calls of its allocator for each request.
IDLE_BYTES, ALLOCATIONS = 4096, 0.01
