# SPDX-License-Identifier: Apache-2.0
"""Two processes that send on one socket without a lock, and the reader that checks what arrives. Runs inside a pod.

    senders_probe.py read ADDRESS PORT CONNECTIONS     prints "ready", then what was wrong, one line each
    senders_probe.py send ADDRESS PORT CONNECTIONS

The upper bit of each byte names its sender, the rest counts. The bytes of both may come mixed, but those of one must all
come, in its order, as TCP has it. The reader sends single bytes meanwhile, so that its own direction goes to TCP.
"""

import os
import random
import signal
import socket
import sys

SENDERS, MESSAGES, PERIOD = 2, 300, 127  # the period is prime: what is lost does not line up with it
STREAMS = [bytes(sender << 7 | position % PERIOD for position in range(PERIOD * 64)) for sender in range(SENDERS)]
OTHERS = [bytes(range(128, 256)), bytes(range(128))]  # of each sender: the bytes that are not its own


def sizes(seed):
    """Bytes of each message of a sender."""
    pick = random.Random(seed)
    return [pick.choice([1, 7, 16, 40, 640, 3200]) for _ in range(MESSAGES)]


def send_all(connection, sender, seed):
    position = 0
    for size in sizes(seed):
        connection.sendall(STREAMS[sender][position % PERIOD:position % PERIOD + size])
        position += size


def receive(connection, count):
    """As recv(), which may wake without data on a redirected socket (docs/compatibility.md)."""
    while True:
        try:
            return connection.recv(count)
        except BlockingIOError:
            pass


def drain(connection):
    while receive(connection, 65536):
        pass


def forked(work, *arguments):
    """A process of its own, so that no interpreter lock keeps the senders apart."""
    child = os.fork()
    if child == 0:
        work(*arguments)
        os._exit(0)
    return child


def send(address, port, connections):
    for count in range(connections):
        with socket.create_connection((address, port)) as connection:
            senders = [forked(send_all, connection, sender, SENDERS * count + sender) for sender in range(SENDERS)]
            reader = forked(drain, connection)
            for child in senders:
                assert os.waitpid(child, 0)[1] == 0
            connection.shutdown(socket.SHUT_WR)
            assert os.waitpid(reader, 0)[1] == 0


def chatter(connection):
    while True:
        connection.send(b"x")


def check(data, sender, total):
    """What is wrong with the bytes of one sender; empty: nothing."""
    own = bytes(data).translate(None, OTHERS[sender])
    for start in range(0, len(own), PERIOD):
        piece = own[start:start + PERIOD]
        if piece != STREAMS[sender][:len(piece)]:
            return f"bytes of sender {sender} are wrong within {PERIOD} from {start} on"
    return "" if len(own) == total else f"{len(own)} bytes of sender {sender}, not {total}"


def read(address, port, connections):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as listener:
        print("ready", flush=True)
        for count in range(connections):
            connection, _ = listener.accept()
            talker = forked(chatter, connection)
            data = bytearray()
            while piece := receive(connection, 4096):
                data += piece
            os.kill(talker, signal.SIGKILL)
            os.waitpid(talker, 0)
            connection.close()
            for sender in range(SENDERS):
                if wrong := check(data, sender, sum(sizes(SENDERS * count + sender))):
                    print(f"connection {count}: {wrong}", flush=True)


if __name__ == "__main__":
    {"read": read, "send": send}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
