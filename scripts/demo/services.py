# SPDX-License-Identifier: Apache-2.0
"""nginx, redis and the client: how they are configured and started, inside the mesh or outside."""

import time
from subprocess import PIPE

from harness.processes import run, spawn, stop
from terminal import StepFailed

NGINX = """
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{
        listen 0.0.0.0:8080; listen [::]:8080;
        default_type text/plain;
        location / {{ return 200 "{name}\\n"; }}
        location /flaky {{ return {flaky} "{name}\\n"; }}
        location /copied {{ access_log {directory}/copied.log; return 200 "{name}\\n"; }}
    }}
}}
"""


def nginx_words(directory, name, flaky):
    """flaky: answers requests for /flaky with 503."""
    home = directory / name
    home.mkdir()
    configuration = home / "nginx.conf"
    configuration.write_text(NGINX.format(directory=home, name=name, flaky=503 if flaky else 200))
    return ["nginx", "-e", "stderr", "-c", str(configuration)]


def redis_words(directory, name):
    home = directory / name
    home.mkdir()
    # On one core, with the client of the latency step.
    return ["taskset", "--cpu-list", "0", "redis-server", "--port", "6379", "--bind", "*", "--protected-mode", "no",
            "--save", "", "--appendonly", "no", "--dir", str(home)]


class Server:
    """A server in a pod, ready when it listens."""

    def __init__(self, pod, argv, port, directory):
        self.name = f"the server of {pod.name}"
        self._log = directory / f"{pod.name}.log"
        with self._log.open("wb") as log:
            self._process = spawn(*argv, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while not run(*pod.enter("ss", "-Hltn", f"sport = :{port}")).stdout.strip():
            if not self.running or time.monotonic() > deadline:
                raise StepFailed(f"{self.name} does not listen on port {port}: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    @property
    def running(self):
        return self._process.poll() is None

    def stop(self):
        stop(self._process, grace=1)


class Talker:
    """A client that prints lines while it runs."""

    def __init__(self, argv):
        self._process = spawn(*argv, stdin=PIPE, stdout=PIPE, text=True)

    def line(self):
        text = self._process.stdout.readline()
        if not text:
            raise StepFailed(f"the client ended with exit code {self._process.wait()}")
        return text.rstrip("\n")

    def ask(self):
        """What it says when it is told to end."""
        self._process.stdin.close()
        return self.line()

    def stop(self):
        stop(self._process, grace=1)
