# SPDX-License-Identifier: Apache-2.0
"""Load on an arm: as much as it takes (wrk, h2load), and at a fixed rate (meshload, h2load). An error ends the run,
but a few of other proxies with HTTP/2 are counted: nginx 1.22 loses a stream now and then (grpc_pass to kept connections)."""

import json
import re
import statistics
import tempfile
from pathlib import Path

from l7arms import CONNECTIONS, MESHLOAD
from report import percentile

# Of the load tools.
_files = tempfile.TemporaryDirectory(prefix="mesh-bench-")
_UNITS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}


def _microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * _UNITS[unit]


def _read_wrk(output):
    if re.search(r"Socket errors|Non-2xx", output):
        raise RuntimeError(f"wrk met errors:\n{output}")
    requests, seconds = re.search(r"(\d+) requests in ([\d.]+\w+)", output).groups()
    p50, p99 = (_microseconds(re.search(rf"^\s+{share}%\s+(\S+)$", output, re.MULTILINE)[1]) for share in (50, 99))
    return {"requests": int(requests), "seconds": _microseconds(seconds) / 1e6, "closed_p50_us": p50, "closed_p99_us": p99}


def _read_h2load(output):
    seconds, = re.search(r"finished in ([\d.]+\w+),", output).groups()
    total, succeeded = (int(re.search(rf"(\d+) {word}", output)[1]) for word in ("done", "succeeded"))
    return {"requests": total, "errors": total - succeeded, "seconds": _microseconds(seconds) / 1e6}


def _read_meshload(output):
    result = json.loads(output.splitlines()[-1])
    return {"requests": result["requests"], "seconds": result["requests"] / result["per_second"],
            "p50_us": result["p50_us"], "p99_us": result["p99_us"]}


def _script(count):
    """A script for wrk whose requests go to 64 of so many routes in turns."""
    path = Path(_files.name) / f"{count}.lua"
    path.write_text(f"""
local requests, at = {{}}, 0
init = function(arguments)
    for number = 1, 64 do requests[number] = wrk.format("GET", "/r" .. (number * 7919 % {count}) .. "/small") end
end
request = function()
    at = at % 64 + 1
    return requests[at]
end
""")
    return path


def _h2load(case, connections, *options):
    words = ["timeout", "120", "h2load", "--threads", "1", "--clients", str(connections), *options]
    if case.protocol == "grpc":
        # An empty message: not compressed, no bytes.
        body = Path(_files.name) / "empty-message"
        body.write_bytes(bytes(5))
        words += ["--data", body, "--header", "content-type: application/grpc", "--header", "te: trailers"]
    return words


def most(arm, case, seconds):
    """Closed loop: CONNECTIONS requests are outstanding at any time."""
    if case.load:
        return case.load(arm, case, seconds)
    if case.protocol == "h1":
        count = dict(case.routes).get(arm.name)
        script = ["--script", _script(count)] if count else []
        # One second at least: wrk knows no less.
        return arm.load(["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--latency", *script,
                         "--duration", f"{max(1, round(seconds))}s", arm.url("h1", case.path)], _read_wrk)
    streams = CONNECTIONS // 8
    return arm.load([*_h2load(case, 8, "--max-concurrent-streams", str(streams), "--duration", str(max(1, round(seconds)))),
                     arm.url(case.protocol, case.path)], _read_h2load)


def at_rate(arm, case, rate, seconds):
    """Open loop at `rate` requests a second. p50_us and p99_us count from when each request was due (HTTP/1.1), or was
    sent (HTTP/2)."""
    if case.protocol == "h1":
        address, port = arm.address("h1")
        return arm.load([MESHLOAD, "http", "--address", address, "--port", str(port), "--path", case.path, "--body",
                         str(case.body), "--connections", str(CONNECTIONS), "--rate", str(rate), "--seconds",
                         str(seconds)], _read_meshload)
    log, connections = Path(_files.name) / "h2load.log", 8
    result = arm.load([*_h2load(case, connections, "--rps", str(max(1, round(rate / connections))), "--duration",
                                str(max(1, round(seconds))), "--log-file", log), arm.url(case.protocol, case.path)], _read_h2load)
    times = sorted(int(line.split()[2]) for line in log.read_text().splitlines())
    return {**result, "p50_us": statistics.median(times), "p99_us": percentile(times, 0.99)}
