# SPDX-License-Identifier: Apache-2.0
"""Requests between two nodes at a fixed rate, alone and while leaf, intermediate and root of both change."""

import os
import threading
import time
from contextlib import contextmanager

import mtlscases
from harness.joined import JoinedNodes
from l7arms import OTHER_CPU
from mtlsarms import TwoNodesBench

# Of what signs; after each, all leaves are asked for again. None: only that. The last one needs no wait here: both nodes have
# what was announced when their leaves are other ones.
CHANGES = (None, ("--intermediate",), (), ("--use", "--force"))
# Seconds from one to the next.
PAUSE = 3
SECONDS = len(CHANGES) * PAUSE


class RotatingNodes:
    """Worlds of two nodes that have joined an authority. A world changes its root once."""

    def block(self):
        """Of each arm what two measurements have found, as `blocks.interleave` does."""
        bench = TwoNodesBench([], JoinedNodes)
        try:
            alone = [self._measure(bench)]
            before = serials(bench.nodes)
            with changes(bench.nodes):
                changing = self._measure(bench)
            after = serials(bench.nodes)
            if before.keys() != after.keys() or set(before.values()) & set(after.values()):
                raise RuntimeError(f"not all leaves have changed: {before} {after}")
            alone.append(self._measure(bench))
        finally:
            bench.remove()
        return {"mesh": alone, "mesh-rotating": [changing]}

    @staticmethod
    def _measure(bench):
        return mtlscases.at_rate(bench.arms["mesh"], SECONDS)

    def remove(self):
        pass


def serials(nodes):
    return {one["identity"]: one["serial"] for side in nodes.sides for one in side.agent.json("identity")}


def change_all(nodes):
    # The authority's work is not the nodes': it runs, as all that is started here, when its core has nothing else to do.
    os.sched_setaffinity(0, {OTHER_CPU})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    began = time.monotonic()
    for number, words in enumerate(CHANGES):
        time.sleep(max(0, began + number * PAUSE + PAUSE / 3 - time.monotonic()))
        if words is not None:
            nodes.authority.change(*words)
        for side in nodes.sides:
            side.agent.ctl("identity", "--renew")


@contextmanager
def changes(nodes):
    failures = []

    def work():
        try:
            change_all(nodes)
        except BaseException as failure:  # told by who waits for the thread
            failures.append(failure)
    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()
    if failures:
        raise failures[0]
    generations = nodes.authority.generations()
    if [one["stage"] for one in generations] != ["retiring", "signing"]:
        raise RuntimeError(f"the root has not changed: {generations}")
