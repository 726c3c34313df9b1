# SPDX-License-Identifier: Apache-2.0
"""Processes of the tests: none outlives the one that started it, however that ends."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1

# Seconds. What has not happened by then never will, however busy the machine is. Nobody waits so long for a success.
PATIENCE = 60.0


class CommandFailed(Exception):
    """A command that did not exit 0, with everything it printed."""

    def __init__(self, argv, status, stdout, stderr):
        super().__init__(f"{' '.join(map(str, argv))}: exit code {status}\n{stdout}{stderr}")
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


def _die_with_parent():
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run(*argv, timeout=PATIENCE, check=True, text=None, env=None):
    """Runs a command to its end; its CompletedProcess. Raises CommandFailed unless `check` is off."""
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, timeout=timeout, input=text,
        stdin=None if text is not None else subprocess.DEVNULL, preexec_fn=_die_with_parent, env=env)
    if check and done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.stdout, done.stderr)
    return done


def spawn(*argv, **options):
    """Starts a command that is killed when this process ends. Takes the options of subprocess.Popen."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen([str(word) for word in argv], preexec_fn=_die_with_parent, **options)


def stop(process, grace=5.0):
    """SIGTERM, then SIGKILL; returns the exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
    status = process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    return status


def run_program(main):
    """Runs a program's `main` and exits with what it returns. A signal that ends the program first lets it take down
    what it has put up: `finally` blocks and exit handlers run, and no second signal stops them."""
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def end(number, _frame):
        for each in signals:
            signal.signal(each, lambda *_: None)  # not SIG_IGN, which children would inherit
        print(f"ended by {signal.Signals(number).name}; removing what was made", file=sys.stderr, flush=True)
        sys.exit(128 + number)
    for each in signals:
        signal.signal(each, end)
    sys.exit(main())


def root_of_repository():
    return Path(__file__).resolve().parents[3]


def is_running(pid):
    return os.path.exists(f"/proc/{pid}")


def own_memory(pid):
    """Bytes of memory that are the process's alone: no file, nothing shared."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("no Private_Dirty")
