# SPDX-License-Identifier: Apache-2.0
"""Narration: headings, commands as they are run, their output, and what was checked."""

import itertools
import sys
import time

_COLOURS = sys.stdout.isatty()
_STARTED = time.monotonic()
_NUMBERS = itertools.count(1)


class StepFailed(Exception):
    """A step did not show what it says."""


def _paint(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if _COLOURS else text


def heading(title: str) -> None:
    elapsed = time.monotonic() - _STARTED
    print(f"\n{_paint('1', f'{next(_NUMBERS)}. {title}')} {_paint('2', f'[{elapsed:.0f} s]')}", flush=True)


def say(text: str) -> None:
    for line in text.strip().splitlines():
        print(f"   {line.strip()}", flush=True)


def command(text: str) -> None:
    print(_paint("36", f"   $ {text}"), flush=True)


def output(text: str, limit: int = 40) -> None:
    lines = text.rstrip("\n").splitlines()
    for line in lines[:limit]:
        print(_paint("2", f"     {line}"))
    if len(lines) > limit:
        print(_paint("2", f"     ... {len(lines) - limit} more lines"))
    sys.stdout.flush()


def shown(text: str) -> None:
    """A claim of the step that was checked just now."""
    print(f"   {_paint('32', 'ok')} {text}", flush=True)


def failed(text: str) -> None:
    print(f"\n{_paint('1;31', 'FAILED')} {text}", file=sys.stderr, flush=True)


def check(condition: bool, claim: str, otherwise: str) -> None:
    """Prints the claim if it holds.

    Raises StepFailed, with what was seen instead, if it does not.
    """
    if not condition:
        raise StepFailed(f"{claim}: {otherwise}")
    shown(claim)
