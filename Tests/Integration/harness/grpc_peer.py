# SPDX-License-Identifier: Apache-2.0
"""grpcio without generated code: `serve NAME PORT`, or `call ADDRESS PORT METHOD KIND COUNT TIMEOUT`, which prints JSON.

Messages are bytes as they are. It runs as it is.
"""

import json
import sys
import threading
import time
from concurrent import futures

import grpc

_SERVICE = "shop.Echo"


class _Echo:
    def __init__(self, name):
        self._name = name.encode()
        self.cancelled = 0

    def unary(self, request, context):
        context.set_trailing_metadata((("x-pod", self._name.decode()), ("x-data-bin", b"\x00\xff")))
        return request + b" from " + self._name

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: \u00e4%")

    def collect(self, requests, context):
        return str(sum(len(request) for request in requests)).encode()

    def stream(self, request, context):
        for number in range(int(request)):
            yield str(number).encode()

    def chat(self, requests, context):
        for request in requests:
            yield request

    def wait(self, request, context):
        """Waits until the call is over; how often that has happened is what `cancelled` answers."""
        over = threading.Event()

        def ended():
            self.cancelled += 1
            over.set()
        context.add_callback(ended)
        yield b"begun"
        over.wait()

    def count_cancelled(self, request, context):
        return str(self.cancelled).encode()


def serve(name, port):
    echo = _Echo(name)
    kinds = {"Unary": grpc.unary_unary_rpc_method_handler(echo.unary),
             "Fail": grpc.unary_unary_rpc_method_handler(echo.fail),
             "Collect": grpc.stream_unary_rpc_method_handler(echo.collect),
             "Stream": grpc.unary_stream_rpc_method_handler(echo.stream),
             "Chat": grpc.stream_stream_rpc_method_handler(echo.chat),
             "Wait": grpc.unary_stream_rpc_method_handler(echo.wait),
             "Cancelled": grpc.unary_unary_rpc_method_handler(echo.count_cancelled)}
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, kinds),))
    server.add_insecure_port(f"[::]:{port}")
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


def _call(channel, method, kind, count, timeout):
    path = f"/{_SERVICE}/{method}"
    messages = [b"x" * 1000] * count
    if kind == "unary":
        answer, call = channel.unary_unary(path).with_call(b"hello", timeout=timeout)
        return {"answer": answer.decode(), "trailers": {key: str(value) for key, value in call.trailing_metadata()}}
    if kind == "collect":
        return {"answer": channel.stream_unary(path)(iter(messages), timeout=timeout).decode()}
    if kind == "stream":
        return {"answer": [item.decode() for item in channel.unary_stream(path)(str(count).encode(), timeout=timeout)]}
    if kind == "chat":
        answers = []
        sent = threading.Semaphore(1)

        def requests():
            # Each message waits for the answer to the one before: both directions are open at once.
            for message in messages:
                sent.acquire()
                yield message
        for item in channel.stream_stream(path)(requests(), timeout=timeout):
            answers.append(len(item))
            sent.release()
        return {"answer": answers}
    if kind == "deadline":
        # The connections are there: the time is the call's alone.
        channel.unary_unary(f"/{_SERVICE}/Cancelled")(b"")
        return {"answer": [item.decode() for item in channel.unary_stream(path)(b"", timeout=timeout)]}
    if kind == "cancel":
        call = channel.unary_stream(path)(b"", timeout=timeout)
        first = next(call)
        call.cancel()
        return {"answer": first.decode()}
    raise SystemExit(f"no such kind of call: {kind}")


def call(address, port, method, kind, count, timeout):
    began = time.monotonic()
    with grpc.insecure_channel(f"{address}:{port}") as channel:
        try:
            found = _call(channel, method, kind, int(count), float(timeout))
        except grpc.RpcError as error:
            found = {"code": error.code().name, "details": error.details()}
    found["seconds"] = time.monotonic() - began
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
