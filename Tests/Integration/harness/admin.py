# SPDX-License-Identifier: Apache-2.0
"""The agent's admin socket without meshctl, for changes that follow one another faster than processes start."""

import json
import socket

from . import manifests
from .processes import PATIENCE


class AdminConnection:
    """The protocol is described in Sources/MeshAdmin/Wire/AdminProtocol.swift."""

    def __init__(self, agent):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(agent.socket))
        self._stream = self._socket.makefile("rw", encoding="utf-8", newline="\n")
        self._number = 0
        self._send(hello={"protocol": 1, "name": "tests"})
        assert "hello" in self._receive()

    def apply(self, *objects):
        """`meshctl policy apply`; its report."""
        report, = self._call("policy.apply", {"files": [{"name": "<test>", "content": manifests.text(*objects)}]})
        return report

    def close(self):
        self._stream.close()
        self._socket.close()

    def _call(self, method, arguments):
        self._number += 1
        self._send(id=self._number, method=method, arguments=arguments)
        items = []
        while "end" not in (answer := self._receive()):
            assert "error" not in answer, answer["error"]
            items += [answer["item"]] if "item" in answer else []
        return items

    def _send(self, **message):
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()

    def _receive(self):
        line = self._stream.readline()
        assert line, "the agent has closed the connection"
        return json.loads(line)
