#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The other end of a connection, by Python's ssl module: sends back what it gets, in upper case.

tls_peer.py client PORT | server     with options as JSON on standard input, one line:
    certificate, key, roots: PEM; alpn: list; maximum: "1.2" or "1.3"
A server prints its port. At the end both print one line: "ok VERSION CIPHER ALPN", or "error TEXT".
"""
import json
import os
import socket
import ssl
import sys
import tempfile


def make_context(role, options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if role == "client" else ssl.PROTOCOL_TLS_SERVER)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=options["roots"])
    if options.get("maximum") == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if options.get("alpn"):
        context.set_alpn_protocols(options["alpn"])
    if options.get("certificate"):
        with tempfile.NamedTemporaryFile("w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(options["certificate"] + options["key"])
            file.flush()
            context.load_cert_chain(file.name)
    return context


def main():
    role = sys.argv[1]
    options = json.loads(sys.stdin.readline())
    context = make_context(role, options)
    if role == "client":
        plain = socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=10)
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(10)
        print(listener.getsockname()[1], flush=True)
        plain, _ = listener.accept()
        plain.settimeout(10)
    try:
        with context.wrap_socket(plain, server_side=role == "server") as connection:
            while True:
                data = connection.recv(65536)
                if not data:
                    break
                connection.sendall(data.upper())
            print("ok", connection.version(), connection.cipher()[0], connection.selected_alpn_protocol(), flush=True)
    except (ssl.SSLError, OSError) as error:
        print("error", str(error).replace("_", " "), flush=True)


main()
