# SPDX-License-Identifier: Apache-2.0
"""Other proxies, configured as a node's proxy: one worker, kept connections on both sides, the same routes, no log."""

import json

from harness.processes import root_of_repository

# What each route's path begins with, and what follows it.
ROUTES = 10
# Ports of a proxy: HTTP/1.1 and HTTP/2 without TLS.
H1, H2 = 80, 82
GRPC_PATH = "/mesh.Bench/Unary"

_NGINX = """
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr error;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; server_tokens off;
    client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
    uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
    sendfile on; open_file_cache max=16 inactive=600s; default_type application/octet-stream;
    {body}
}}
"""


def _nginx(directory, body):
    directory.mkdir(parents=True)
    configuration = directory / "nginx.conf"
    configuration.write_text(_NGINX.format(directory=directory, body=body))
    return ["nginx", "-e", "stderr", "-c", configuration]


def paths(count=ROUTES):
    return [f"/r{number}" for number in range(count)]


def backend(directory, address, ports):
    """nginx as what is behind the proxies. ports: {HTTP/1.1, HTTP/2}."""
    directory.mkdir(parents=True)
    (directory / "10k").write_bytes(b"y" * (10 << 10))
    # One gRPC message: not compressed, 61 bytes.
    (directory / "unary").write_bytes(bytes(4) + bytes([61]) + b"z" * 61)
    pages = f"""
        location / {{ return 200 "{'x' * 61}"; }}
        location ~ ^/r[0-9]+/10k$ {{ alias {directory}/10k; }}
        location ~ ^/r[0-9]+/protocol$ {{ return 200 "$server_protocol $http_via"; }}
        location = {GRPC_PATH} {{
            default_type application/grpc; add_trailer grpc-status 0; alias {directory}/unary;
            error_page 405 =200 $uri;
        }}"""
    h1, h2 = ports
    return _nginx(directory / "nginx", f"""
    server {{ listen {address}:{h1} backlog=4096; {pages} }}
    server {{ listen {address}:{h2} http2 backlog=4096; http2_max_concurrent_streams 1000; {pages} }}""")


def nginx(directory, upstreams):
    """upstreams: ((address, port) of HTTP/1.1, (address, port) of HTTP/2)."""
    (h1, h1_port), (h2, h2_port) = upstreams
    forwarding = ('proxy_pass http://one; proxy_http_version 1.1; proxy_set_header Connection ""; '
                  "proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;")
    locations = "\n".join(f"location {path}/ {{ {forwarding} }}" for path in paths())
    kept = "keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s;"
    return _nginx(directory, f"""
    upstream one {{ server {h1}:{h1_port}; {kept} }}
    upstream two {{ server {h2}:{h2_port}; {kept} }}
    server {{ listen {H1} backlog=4096; location / {{ return 404; }} {locations} }}
    server {{ listen {H2} http2 backlog=4096; http2_max_concurrent_streams 1000;
              location / {{ return 404; }} location = {GRPC_PATH} {{ grpc_pass grpc://two; }} }}""")


HAPROXY = """
global
    nbthread 1
    maxconn 8000
    tune.h2.max-concurrent-streams 1000
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    http-reuse always
    option forwardfor
"""


def haproxy(directory, upstreams):
    chosen = "\n".join(f"    use_backend {{0}} if {{{{ path_beg {path}/ }}}}" for path in [*paths(), GRPC_PATH])
    chosen = chosen.replace(f"{GRPC_PATH}/", GRPC_PATH)
    (h1, h1_port), (h2, h2_port) = upstreams
    return haproxy_words(directory, f"""{HAPROXY}
frontend h1
    bind :{H1}
{chosen.format('one')}
frontend h2
    bind :{H2} proto h2
{chosen.format('two')}
backend one
    server one {h1}:{h1_port}
backend two
    server two {h2}:{h2_port} proto h2
""")


def haproxy_words(directory, text):
    directory.mkdir(parents=True)
    configuration = directory / "haproxy.cfg"
    configuration.write_text(text)
    return ["haproxy", "-f", configuration, "-db"]


def envoy_program():
    """The binary inside the Python package, or None."""
    found = sorted((root_of_repository() / ".build" / "envoy").glob("lib/python3*/site-packages/envoy/_bin/envoy"))
    return found[0] if found else None


KIND = "type.googleapis.com/envoy.extensions"


def envoy_routes(cluster, grpc_cluster=None):
    """Those of one virtual host."""
    found = [{"match": {"prefix": f"{path}/"}, "route": {"cluster": cluster, "timeout": "0s"}} for path in paths()]
    return found + [{"match": {"path": GRPC_PATH}, "route": {"cluster": grpc_cluster or cluster, "timeout": "0s"}}]


def envoy_manager(name, codec, routes, **more):
    """The filter that speaks HTTP. routes: of all hosts, or the virtual hosts."""
    hosts = routes if "domains" in routes[0] else [{"name": "all", "domains": ["*"], "routes": routes}]
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": f"{KIND}.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": name,
        "codec_type": codec, "use_remote_address": True, "generate_request_id": False,
        "route_config": {"virtual_hosts": hosts},
        "http_filters": [{"name": "envoy.filters.http.router",
                          "typed_config": {"@type": f"{KIND}.filters.http.router.v3.Router"}}], **more}}


def envoy_listener(name, port, filter, **chain):
    return {"name": name, "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
            "filter_chains": [{"filters": [filter], **chain}]}


def envoy_cluster(name, upstream, is_h2, **more):
    address, port = upstream
    cluster = {
        "name": name, "type": "STATIC", "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [{"max_connections": 8000, "max_pending_requests": 8000,
                                             "max_requests": 8000}]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}]}]}, **more}
    if is_h2:
        cluster["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{KIND}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}}
    return cluster


def envoy(directory, upstreams):
    h1, h2 = upstreams
    return envoy_words(directory, [
        envoy_listener(name, port, envoy_manager(name, codec, envoy_routes(name)))
        for name, port, codec in (("one", H1, "HTTP1"), ("two", H2, "HTTP2"))],
        [envoy_cluster("one", h1, False), envoy_cluster("two", h2, True)])


def envoy_words(directory, listeners, clusters):
    directory.mkdir(parents=True)
    configuration = directory / "envoy.json"
    configuration.write_text(json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}}))
    return [envoy_program(), "-c", configuration, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


PEERS = {"envoy": envoy, "haproxy": haproxy, "nginx": nginx}

