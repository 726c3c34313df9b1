# SPDX-License-Identifier: Apache-2.0
"""One side of connections that are going to be cut: notes when each call fails. Runs in a pod, alone."""

import json
import socket
import sys
import threading
import time


def say(**values):
    print(json.dumps(values), flush=True)


def until_error(connection, step, failures, number):
    """Repeats `step` until it fails; notes [errno, CLOCK_MONOTONIC seconds]. The end of the stream counts as 0."""
    while True:
        try:
            if not step(connection):
                failures[number] = [0, time.monotonic()]
                return
        except BlockingIOError:
            continue  # a redirected socket may wake without data
        except OSError as error:
            failures[number] = [error.errno, time.monotonic()]
            return


def idle(connection):
    return connection.recv(100)


def answer(connection):
    data = connection.recv(4096)
    return data and connection.send(data)


def question(connection):
    connection.send(b"question")
    return connection.recv(100)


def watch(connections, step):
    failures = [None] * len(connections)  # in the order in which they were made, which both sides share
    threads = [threading.Thread(target=until_error, args=(one, step, failures, number))
               for number, one in enumerate(connections)]
    for thread in threads:
        thread.start()
    say(watching=len(threads))
    for thread in threads:
        thread.join()
    say(failures=failures)
    # The sockets stay open until both ends have told: what one's exit does to the other is not what is measured.
    sys.stdin.read()


def serve(address, count):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family, backlog=int(count))
    say(port=listener.getsockname()[1])
    connections = []
    for _ in range(int(count)):
        one, _ = listener.accept()
        answer(one)  # each client waits for its greeting before it makes the next connection
        connections.append(one)
    watch(connections, answer)


def ask(address, count, port, activity):
    connections = []
    for _ in range(int(count)):
        one = socket.create_connection((address, int(port)))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.send(b"hello")
        one.recv(100)
        connections.append(one)
    watch(connections, question if activity == "active" else idle)


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
