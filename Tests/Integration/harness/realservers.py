# SPDX-License-Identifier: Apache-2.0
"""Servers that people run, in one pod behind the node proxy: nginx, Apache, Node, nghttpd, Python. Each has a Service, and
each is reached by the path /NAME/… of the Service `web`; all but nghttpd and h2 record what they have read."""

import json
import sys
from pathlib import Path

from . import manifests
from .processes import PATIENCE, run, spawn, stop
from .routed import PORT, http_route, to
from .world import eventually

# Name: protocol of HTTP, port.
SERVERS = {"python1": (1, 8281), "node1": (1, 8282), "nginx1": (1, 8283), "apache1": (1, 8284), "h2": (2, 8285),
           "nghttpd": (2, 8286), "node2": (2, 8287), "nginx2": (2, 8288), "apache2": (2, 8289), "grpcio": (2, 8290)}
SIZE = 300_000
_HERE = Path(__file__).parent

_NGINX = """
daemon off; master_process off; pid {place}/nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
    log_format seen escape=json '{{"method":"$request_method","target":"$request_uri","body":""}}';
    client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u;
    scgi_temp_path {place}/s; keepalive_timeout 600s;
    server {{
        listen [::]:{port1} ipv6only=off; access_log {place}/nginx1.seen seen; add_header X-Path $request_uri always;
        location / {{ return 200 "0"; }}
        location /bytes/ {{ root {place}; }}
    }}
    server {{
        listen [::]:{port2} ipv6only=off http2; access_log {place}/nginx2.seen seen; add_header X-Path $request_uri always;
        location / {{ return 200 "0"; }}
        location /bytes/ {{ root {place}; }}
    }}
}}
"""
_APACHE = """
ServerName localhost
PidFile {place}/{name}.pid
DefaultRuntimeDir {place}
Mutex posixsem
Listen [::]:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule http2_module {modules}/mod_http2.so
User www-data
Protocols {protocols}
H2Direct on
DocumentRoot {place}/docs
AliasMatch "^/(?!bytes/).*" {place}/docs/index.html
LogFormat "{{\\"method\\":\\"%m\\",\\"target\\":\\"%U%q\\",\\"body\\":\\"\\"}}" seen
CustomLog {place}/{name}.seen seen
ErrorLog {place}/{name}.errors
KeepAliveTimeout 600
MaxKeepAliveRequests 0
TraceEnable off
Header always set X-Path "expr=%{{REQUEST_URI}}"
"""


class RealServers:
    """Started in a pod of a Routed node. names: which of SERVERS."""

    def __init__(self, routed, names, pod="c"):
        self._routed, self.pod, self.names = routed, pod, list(names)
        self.place = routed.agent.directory / "servers"
        self._processes = []
        docs = self.place / "docs"
        for folder in (self.place / "bytes", docs / "bytes"):
            folder.mkdir(parents=True)
            (folder / str(SIZE)).write_bytes(content(SIZE))
        (docs / "index.html").write_text("0")
        for path in (self.place, *self.place.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o644)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        for name in self.names:
            words = self._words(name, SERVERS[name][1])
            if words:
                with (self.place / f"{name}.log").open("wb") as log:
                    self._processes.append(spawn(*self._routed.meshed.argv(self.pod, *words), stdout=log, stderr=log))
        enter = self._routed.meshed.pod(self.pod).enter
        for name in self.names:
            eventually(lambda port=SERVERS[name][1]: run(*enter("ss", "-Hltn", f"sport = :{port}")).stdout.strip(),
                       timeout=PATIENCE, what=f"{name}, {self._log(name)}")

    def _log(self, name):
        path = self.place / f"{name}.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else "without a log"

    def _words(self, name, port):
        if name == "python1":
            return [sys.executable, _HERE / "http_server.py", port, self.place / f"{name}.seen"]
        if name.startswith("node"):
            return ["node", _HERE / "node_server.js", name[-1], port, self.place / f"{name}.seen"]
        if name == "h2":
            return [sys.executable, _HERE / "h2serve.py", "h2", port]
        if name == "grpcio":
            return [sys.executable, _HERE / "grpc_peer.py", "serve", "grpcio", port]
        if name == "nghttpd":
            return ["nghttpd", "--no-tls", "--echo-upload", f"--htdocs={self.place / 'docs'}", port]
        if name.startswith("apache"):
            path = self.place / f"{name}.conf"
            path.write_text(_APACHE.format(place=self.place, name=name, port=port, modules="/usr/lib/apache2/modules",
                                           protocols="h2c" if name == "apache2" else "http/1.1"))
            return ["apache2", "-DFOREGROUND", "-f", path]
        if name == "nginx1" or "nginx1" not in self.names:
            path = self.place / "nginx.conf"
            path.write_text(_NGINX.format(place=self.place, port1=SERVERS["nginx1"][1], port2=SERVERS["nginx2"][1]))
            return ["nginx", "-e", "stderr", "-c", path]
        return None  # nginx2 is the same process

    def services(self):
        """A Service for each."""
        for number, name in enumerate(self.names):
            version, port = SERVERS[name]
            made = manifests.service(name, {"app": self.pod}, [(PORT, port)], [f"10.96.2.{number + 1}"])
            made["spec"]["ports"][0]["appProtocol"] = "kubernetes.io/h2c" if version == 2 else "http"
            yield made

    def rules(self, **more):
        """Rules of a route that lead by the first part of the path, which is taken off. more: of each rule."""
        for name in self.names:
            yield {"matches": [{"path": {"type": "PathPrefix", "value": f"/{name}"}}],
                   "filters": [{"type": "URLRewrite", "urlRewrite": {
                       "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}],
                   "backendRefs": [to(name)], **more}

    def route(self, *first):
        """Puts Services and routes into force; `first` are further rules, in a route of their own."""
        self._routed.agent.write_config("servers.yaml", *self.services())
        # A route has 16 rules at most.
        self._routed.routes(http_route("servers", list(self.rules())),
                            *([http_route("first", list(first))] if first else []))

    def seen(self, name):
        """The requests that a server has read, so far."""
        path = self.place / f"{name}.seen"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return [json.loads(line, strict=False) for line in lines]

    def close(self):
        for process in self._processes:
            stop(process)


def content(size):
    """The first bytes of the tests' stream."""
    from .peer import stretch
    return b"".join(stretch(start, min(1 << 16, size - start)) for start in range(0, size, 1 << 16))
