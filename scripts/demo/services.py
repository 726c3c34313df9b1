# SPDX-License-Identifier: Apache-2.0
"""nginx and redis: how they are configured and started, inside the mesh or outside."""

import time
from pathlib import Path

from children import Child, run
from terminal import StepFailed

NGINX = """
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{
        listen 0.0.0.0:8080; listen [::]:8080;
        location / {{ default_type text/plain; return 200 "{name}\\n"; }}
    }}
}}
"""


def nginx_words(directory: Path, name: str) -> list[str]:
    home = directory / name
    home.mkdir()
    configuration = home / "nginx.conf"
    configuration.write_text(NGINX.format(directory=home, name=name))
    return ["nginx", "-e", "stderr", "-c", str(configuration)]


def redis_words(directory: Path, name: str) -> list[str]:
    home = directory / name
    home.mkdir()
    # On one core, with the client of the latency step.
    return ["taskset", "--cpu-list", "0", "redis-server", "--port", "6379", "--bind", "*", "--protected-mode", "no",
            "--save", "", "--appendonly", "no", "--dir", str(home)]


def wait_for_listener(netns_words: list[str], port: int, child: Child) -> None:
    """Waits until something listens on a port of a namespace."""
    deadline = time.monotonic() + 10
    while not run(*netns_words, "ss", "-Hltn", f"sport = :{port}").strip():
        if not child.running:
            raise StepFailed(f"{child.name} ended: {child.explain()}")
        if time.monotonic() > deadline:
            raise StepFailed(f"{child.name} does not listen on port {port} after 10 s")
        time.sleep(0.02)
