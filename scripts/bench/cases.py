# SPDX-License-Identifier: Apache-2.0
"""What is measured, and what the result has to be."""

from dataclasses import dataclass, field

# Core of the client and of the server. `same` is bound by the kernel's path, `cross` by waking the other core.
CORES = {"same-core": (0, 0), "cross-core": (0, 1)}


# Bytes on their way at most of a stream whose receiver says how far it is, as with HTTP/2; it is not downgraded.
WINDOW = 128 << 10


@dataclass(frozen=True)
class Case:
    name: str
    mode: str             # meshload's
    options: tuple        # of meshload
    metric: str           # unit of the value
    value: str            # key of the value in meshload's result
    cores: str
    family: int
    quick: bool = False   # part of a quick run
    higher_is_better: bool = False
    limits: dict = field(default_factory=dict)  # acceptance: see `verdict`


def size_name(size):
    return f"{size >> 20}MB" if size >= 1 << 20 else f"{size >> 10}KB" if size >= 1024 else f"{size}B"


def _rr_limit(size, cores):
    if size == 64:
        return {"at_most": 0.60 if cores == "same-core" else 0.95}
    return {"not_above": 1.05}


def all_cases():
    cases = []
    for family in (4, 6):
        for cores in CORES:
            suffix = f"{cores}-ipv{family}"
            for size in (1, 64, 1024, 16384):
                cases.append(Case(
                    f"rr-{size_name(size)}-{suffix}", "rr", ("--request", str(size), "--response", str(size)),
                    "us", "p50_us", cores, family, quick=size in (64, 16384) and family == 4,
                    limits=_rr_limit(size, cores)))
            cases.append(Case(
                f"rr-64B-64conn-{suffix}", "rr", ("--connections", "64"), "1/s", "per_second", cores, family,
                quick=family == 4, higher_is_better=True, limits={"at_least": 1.0}))
            cases.append(Case(
                f"crr-64B-{suffix}", "crr", (), "us", "mean_us", cores, family, quick=family == 4,
                limits={"at_most": 1.18}))
    for cores in CORES:
        for size in (64, 1024, 4096, 16384, 65536, 262144, 1 << 20):
            for nagle in ("nagle", "nodelay"):
                for family in (4, 6) if size in (16384, 65536) and nagle == "nagle" else (4,):
                    options = ("--write-size", str(size)) + (("--no-delay",) if nagle == "nodelay" else ())
                    cases.append(Case(
                        f"stream-{size_name(size)}-{nagle}-{cores}-ipv{family}", "stream", options, "GB/s",
                        "gbytes_per_second", cores, family, quick=family == 4 and size in (64, 16384, 131072),
                        higher_is_better=True,
                        limits={"downgraded": 0.85, "redirected": 1.3 if size >= 16384 else 0.85}))
        for size in (16384, 65536):
            cases.append(Case(
                f"stream-{size_name(size)}-window-{cores}-ipv4", "stream",
                ("--write-size", str(size), "--window", str(WINDOW), "--no-delay"), "GB/s", "gbytes_per_second", cores, 4,
                higher_is_better=True, limits={"downgraded": 0.85, "redirected": 1.3}))
    cases.append(Case("stream-64KB-64conn-cross-core-ipv4", "stream", ("--connections", "64"), "GB/s",
                      "gbytes_per_second", "cross-core", 4, higher_is_better=True,
                      limits={"downgraded": 0.85, "redirected": 1.3}))
    return cases


def limit_of(case, downgraded):
    """(its kind, the number) of the limit that counts for what the case did."""
    (kind, number), *others = case.limits.items()
    if others:
        kind = "downgraded" if downgraded else "redirected"
        number = case.limits[kind]
    return kind, number


def verdict(case, ratio, spread, downgraded):
    """(text of the limit, whether it is kept). The spread's nearer end counts where the limit says so."""
    kind, number = limit_of(case, downgraded)
    if kind == "at_most":
        return f"<= {number:.2f}", ratio <= number
    if kind == "not_above":
        return f"<= {number:.2f} within spread", spread[0] <= number
    return f">= {number:.2f}" + ("" if kind == "at_least" else f" ({kind})"), ratio >= number
