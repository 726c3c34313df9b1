# SPDX-License-Identifier: Apache-2.0
"""A TCP relay on loopback that damages one stream: a test of the tests."""

import socket
import threading


class Relay:
    """Copies connections to `target`; `damage(bytes, position)` changes what clients send."""

    def __init__(self, target, damage=None, port=0):
        self._target = target
        self._damage = damage
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for source, sink, damage in ((client, server, self._damage), (server, client, None)):
                threading.Thread(target=self._copy, args=(source, sink, damage), daemon=True).start()

    @staticmethod
    def _copy(source, sink, damage):
        position = 0
        try:
            while data := source.recv(65536):
                sink.sendall(damage(data, position) if damage else data)
                position += len(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                end.close()
