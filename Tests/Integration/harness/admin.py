# SPDX-License-Identifier: Apache-2.0
"""The agent's admin socket without meshctl, for changes that follow one another faster than processes start."""

import json
import socket

from . import manifests
from .processes import PATIENCE, CommandFailed


class AdminConnection:
    """The protocol is described in Sources/MeshAdmin/Wire/AdminProtocol.swift."""

    def __init__(self, agent, timeout=PATIENCE):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._number = 0
        try:
            self._socket.connect(str(agent.socket))
            self._stream = self._socket.makefile("rw", encoding="utf-8", newline="\n")
            self._send(hello={"protocol": 1, "name": "tests"})
            if "hello" not in (answer := self._receive()):
                raise failed("hello", answer["error"])
        except (ConnectionError, FileNotFoundError) as error:
            raise failed("hello", {"code": "unreachable", "message": str(error)}) from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def apply(self, *objects):
        """`meshctl policy apply`; its report."""
        report, = self.call("policy.apply", {"files": [{"name": "<test>", "content": manifests.text(*objects)}]})
        return report

    def delete(self, item):
        """`meshctl policy delete`; its report."""
        metadata = item["metadata"]
        report, = self.call("policy.delete", {"policy": {
            "kind": item["kind"], "namespace": metadata["namespace"], "name": metadata["name"]}})
        return report

    def close(self):
        self._stream.close()
        self._socket.close()

    def call(self, method, arguments):
        """The items of the answer. Raises CommandFailed, as a command of meshctl would."""
        self._number += 1
        self._send(id=self._number, method=method, arguments=arguments)
        items = []
        while "end" not in (answer := self._receive()):
            if "error" in answer:
                raise failed(method, answer["error"])
            items += [answer["item"]] if "item" in answer else []
        return items

    def _send(self, **message):
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()

    def _receive(self):
        line = self._stream.readline()
        if not line:
            raise ConnectionResetError("the agent has closed the connection")
        return json.loads(line)


def failed(method, error):
    """An error of the agent, with all that it says: its code stands where a command has its exit code."""
    findings = "".join(f"{finding}\n" for finding in error.get("findings", ()))
    return CommandFailed((method,), error["code"], "", f"{error['message']}\n{error.get('hint', '')}\n{findings}")
