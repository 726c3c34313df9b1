# SPDX-License-Identifier: Apache-2.0
"""Requests between two nodes at a fixed rate, alone and while leaf, intermediate and root of both change."""

import os
import threading
import time
from contextlib import contextmanager

import accounts
import mtlscases
from harness.joined import JoinedNodes
from l7arms import OTHER_CPU, PROXY_CPU
from mtlsarms import TwoNodesBench

# Of what signs; after each, all leaves are asked for again. None: only that. The last one needs no wait here: both nodes have
# what was announced when their leaves are other ones.
CHANGES = (None, ("--intermediate",), (), ("--use", "--force"))
# Seconds from one to the next. All in a minute is faster than they can be without --force: an announced root cannot be used before.
PAUSE = 15
CHANGING, ALONE = len(CHANGES) * PAUSE, 20


class RotatingNodes:
    """Worlds of two nodes that have joined an authority. A world changes its root once."""

    def block(self):
        """Of each arm what two measurements have found, as `blocks.interleave` does."""
        bench = TwoNodesBench([], JoinedNodes)
        arm = bench.arms["mesh"]
        try:
            # Agents do as much here as the proxies, and are bound to no core of those on any node.
            for side in bench.nodes.sides:
                accounts.pin([side.agent.process.pid], PROXY_CPU, OTHER_CPU)
            alone = [mtlscases.at_rate(arm, ALONE)]
            before = serials(bench.nodes)
            with changes(bench.nodes):
                changing = mtlscases.at_rate(arm, CHANGING)
            after = serials(bench.nodes)
            if before.keys() != after.keys() or set(before.values()) & set(after.values()):
                raise RuntimeError(f"not all leaves have changed: {before} {after}")
            alone.append(mtlscases.at_rate(arm, ALONE))
        finally:
            bench.remove()
        return {"mesh": alone, "mesh-rotating": [changing]}

    def remove(self):
        pass


def serials(nodes):
    return {one["identity"]: one["serial"] for side in nodes.sides for one in side.agent.json("identity")}


def change_all(nodes, is_over):
    # The authority's work is not the nodes': it runs, as all that is started here, when its core has nothing else to do.
    os.sched_setaffinity(0, {OTHER_CPU})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    began = time.monotonic()
    for number, words in enumerate(CHANGES):
        if is_over.wait(max(0, began + number * PAUSE + PAUSE / 3 - time.monotonic())):
            return
        if words is not None:
            nodes.authority.change(*words)
        for side in nodes.sides:
            side.agent.ctl("identity", "--renew")


@contextmanager
def changes(nodes):
    failures, is_over = [], threading.Event()

    def work():
        try:
            change_all(nodes, is_over)
        except BaseException as failure:  # told by who waits for the thread
            failures.append(failure)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if failures:
        raise failures[0]
    generations = nodes.authority.generations()
    if [one["stage"] for one in generations] != ["retiring", "signing"]:
        raise RuntimeError(f"the root has not changed: {generations}")
