# SPDX-License-Identifier: Apache-2.0
"""Processes that the demo starts: none outlives it, however it ends."""

import ctypes
import os
import signal
import subprocess
from pathlib import Path

from terminal import StepFailed

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run(*argv: str, timeout: float = 30, env: dict[str, str] | None = None) -> str:
    """Runs a command to its end and returns its standard output.

    Raises StepFailed with both outputs if it fails or takes too long.
    """
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=_die_with_parent, env=env)
    except subprocess.TimeoutExpired as error:
        raise StepFailed(f"{' '.join(argv)}: no end after {timeout:.0f} s; it printed: {error.stdout!r}") from None
    except FileNotFoundError:
        raise StepFailed(f"{argv[0]}: not found; run scripts/bootstrap.sh --demo") from None
    if done.returncode != 0:
        raise StepFailed(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Child:
    """A process that runs in the background, with its output in a file."""

    def __init__(self, name: str, argv: list[str], log: Path, talks: bool = False):
        """talks: its standard output is read by ``line`` instead of going to the log."""
        self.name = name
        self.log = log
        with log.open("wb") as sink:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else sink, stderr=sink, text=talks,
                start_new_session=True, preexec_fn=_die_with_parent)

    def line(self) -> str:
        """The next line that it prints; raises StepFailed at its end."""
        text = self.process.stdout.readline()
        if not text:
            raise StepFailed(f"{self.name} ended: {self.explain()}")
        return text.rstrip("\n")

    def explain(self) -> str:
        """How it ended, with the last lines of its log."""
        tail = self.log.read_text(errors="replace").splitlines()[-15:]
        return f"exit code {self.process.wait(5)}\n" + "\n".join(tail)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def stop(self, grace: float = 5) -> None:
        """SIGTERM, then SIGKILL to its whole session."""
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
