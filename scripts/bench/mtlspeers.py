# SPDX-License-Identifier: Apache-2.0
"""Other proxies on two nodes, with mutual TLS 1.3 between them: the near one is asked in clear, the far one asks in clear.

Both have one worker, kept connections, no log, AES-128-GCM and X25519, and no tickets of sessions, as the mesh has.
"""

from dataclasses import dataclass

import l7peers
from harness.wire import TUNNELS
from l7peers import GRPC_PATH, H1, H2

# Where the far one takes requests. Tunnels come to TUNNELS (Envoy: by HBONE; HAProxy: each port to its own after that). The
# near one takes TCP at the port of the same number as the backend's.
REQUESTS = 8443


@dataclass(frozen=True)
class Trust:
    """Files in PEM of what both ends show, with its key, and of the root that they believe."""
    near: str
    far: str
    root: str


def _context(own, trust, is_server, protocols):
    """Of Envoy, for a listener or a cluster."""
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3",
                       "ecdh_curves": ["X25519"]},
        "tls_certificates": [{"certificate_chain": {"filename": own}, "private_key": {"filename": own}}],
        "validation_context": {"trusted_ca": {"filename": trust.root}}, "alpn_protocols": protocols}
    kind = f"{l7peers.KIND}.transport_sockets.tls.v3."
    if is_server:
        typed = {"@type": f"{kind}DownstreamTlsContext", "common_tls_context": common, "require_client_certificate": True,
                 "disable_stateless_session_resumption": True, "disable_stateful_session_resumption": True}
    else:
        typed = {"@type": f"{kind}UpstreamTlsContext", "common_tls_context": common, "max_session_keys": 0}
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": typed}}


def envoy_near(directory, far, backend, tunnels, trust):
    """far: address of the other proxy; backend: (address, ports of HTTP/1.1 and HTTP/2); tunnels: ports of the backend."""
    secure = _context(trust.near, trust, False, ["h2"])
    listeners = [l7peers.envoy_listener(name, port, l7peers.envoy_manager(name, codec, l7peers.envoy_routes("requests")))
                 for name, port, codec in (("one", H1, "HTTP1"), ("two", H2, "HTTP2"))]
    for port in tunnels:
        listeners.append(l7peers.envoy_listener(f"tunnel-{port}", port, {
            "name": "envoy.filters.network.tcp_proxy", "typed_config": {
                "@type": f"{l7peers.KIND}.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "tunnel",
                "cluster": "tunnels", "tunneling_config": {"hostname": f"{backend[0]}:{port}"}}}))
    return l7peers.envoy_words(directory, listeners, [
        l7peers.envoy_cluster("requests", (far, REQUESTS), True, **secure),
        l7peers.envoy_cluster("tunnels", (far, TUNNELS), True, **secure)])


def envoy_far(directory, backend, tunnels, trust):
    address, (h1, h2) = backend
    hosts = [{"name": f"tunnel-{port}", "domains": [f"{address}:{port}"], "routes": [{
        "match": {"connect_matcher": {}}, "route": {
            "cluster": f"tunnel-{port}", "timeout": "0s",
            "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}}]} for port in tunnels]
    secure = _context(trust.far, trust, True, ["h2"])
    listeners = [
        l7peers.envoy_listener("requests", REQUESTS, l7peers.envoy_manager(
            "requests", "HTTP2", l7peers.envoy_routes("one", "two")), **secure),
        l7peers.envoy_listener("tunnels", TUNNELS, l7peers.envoy_manager(
            "tunnels", "HTTP2", hosts, http2_protocol_options={"allow_connect": True},
            upgrade_configs=[{"upgrade_type": "CONNECT"}]), **secure)]
    return l7peers.envoy_words(directory, listeners, [
        l7peers.envoy_cluster("one", (address, h1), False), l7peers.envoy_cluster("two", (address, h2), True),
        *(l7peers.envoy_cluster(f"tunnel-{port}", (address, port), False) for port in tunnels)])


_HAPROXY = l7peers.HAPROXY.replace("defaults", """    ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-bind-curves X25519
    ssl-default-server-options ssl-min-ver TLSv1.3 no-tls-tickets
    ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
    tune.ssl.cachesize 0
defaults""")
_TCP = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 600s
    timeout server 600s
"""


def haproxy_near(directory, far, backend, tunnels, trust):
    secure = f"ssl verify required ca-file {trust.root} crt {trust.near}"
    text = f"""{_HAPROXY}
frontend h1
    bind :{H1}
{_chosen("far")}
frontend h2
    bind :{H2} proto h2
{_chosen("far")}
backend far
    server far {far}:{REQUESTS} {secure} alpn h2 pool-purge-delay 600s
"""
    text += _TCP
    for number, port in enumerate(tunnels):
        text += f"""
listen tunnel-{port}
    bind :{port}
    server far {far}:{TUNNELS + number} {secure}
"""
    return l7peers.haproxy_words(directory, text)


def haproxy_far(directory, backend, tunnels, trust):
    address, (h1, h2) = backend
    secure = f"ssl verify required ca-file {trust.root} crt {trust.far}"
    text = f"""{_HAPROXY}
frontend requests
    bind :{REQUESTS} {secure} alpn h2
    use_backend two if {{ path_beg {GRPC_PATH} }}
{_chosen("one")}
backend one
    server one {address}:{h1}
backend two
    server two {address}:{h2} proto h2
"""
    text += _TCP
    for number, port in enumerate(tunnels):
        text += f"""
listen tunnel-{port}
    bind :{TUNNELS + number} {secure}
    server backend {address}:{port}
"""
    return l7peers.haproxy_words(directory, text)


def _chosen(backend):
    return "\n".join(f"    use_backend {backend} if {{ path_beg {path} }}"
                     for path in [*(f"{path}/" for path in l7peers.paths()), GRPC_PATH])


# Name -> what makes the words of the near one and of the far one.
PEERS = {"envoy": (envoy_near, envoy_far), "haproxy": (haproxy_near, haproxy_far)}
