# SPDX-License-Identifier: Apache-2.0
"""Sockets that are made for the node proxy: they go where they were made to go, under their pod's policy."""

import errno
import socket
import struct

import pytest

from harness.capture import ORIGIN, SOL, captured, client_of
from harness.manifests import app, network_policy
from harness.meshed import Applied
from harness.services import PORT, TARGET, V4


def test_a_leg_goes_only_where_it_was_sent(proxied, targets, rules, proxy):
    b, c = proxied.pod("b").ipv4, proxied.pod("c").ipv4
    for address, port in ((c, TARGET), (b, TARGET + 1), (V4, PORT), ("127.0.0.1", TARGET), ("203.0.113.5", 80)):
        leg = proxy.leg(b, TARGET)
        with pytest.raises(PermissionError):
            leg.connect((address, port))
        leg.close()
    proxied.denial(80, "leg")
    leg = proxy.dial(b, TARGET)
    targets[4].accept()[0].close()
    leg.close()


def test_sockets_of_the_factory_without_a_mark_go_nowhere(proxied, rules, proxy):
    for address in (proxied.pod("b").ipv4, "127.0.0.1", "203.0.113.5", proxied.pod("b").ipv6):
        client = proxy.peer.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        with pytest.raises(PermissionError):
            client.connect((address, TARGET))
        client.close()
        datagrams = proxy.peer.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        with pytest.raises(PermissionError):
            datagrams.sendto(b"out", (address, TARGET))
        with pytest.raises(PermissionError):
            datagrams.connect((address, TARGET))
        datagrams.close()


def test_an_accepted_socket_cannot_be_turned_into_a_leg(proxied, rules, proxy):
    rules.capture(V4, PORT)
    client, accepted, _ = captured(proxied, proxy, V4, PORT)
    proxy.peer.do("disconnect", accepted)
    with pytest.raises(PermissionError):
        accepted.connect((proxied.pod("b").ipv4, TARGET))
    client.close()
    accepted.close()


def test_a_leg_is_under_its_pods_policy(proxied, targets, rules, proxy):
    policies = Applied(proxied.agent)
    try:
        policies(network_policy("b-hears-c", app("b"), ingress=[{"from": [{"podSelector": app("c")}]}]))
        with pytest.raises(ConnectionRefusedError):
            proxy.dial(proxied.pod("b").ipv4, TARGET)
        policies(network_policy("a-says-nothing", app("a"), egress=[]))
        with pytest.raises(PermissionError):
            proxy.dial(proxied.pod("b").ipv4, TARGET)
    finally:
        policies.close()


def test_the_option_is_for_the_proxys_sockets(proxied, targets, rules, proxy):
    client = client_of(proxied, "a", proxied.pod("b").ipv4)
    client.connect((proxied.pod("b").ipv4, TARGET))
    server, _ = targets[4].accept()
    for end in (client, server):
        with pytest.raises(OSError) as failure:
            end.getsockopt(SOL, ORIGIN, 72)
        assert failure.value.errno in (errno.EOPNOTSUPP, errno.ENOPROTOOPT)
    rules.capture(V4, PORT)
    other, accepted, _ = captured(proxied, proxy, V4, PORT)
    with pytest.raises(OSError) as failure:
        accepted.getsockopt(SOL, ORIGIN, 71)
    assert failure.value.errno == errno.EINVAL
    assert struct.unpack("=i", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE, 4))[0] == socket.SOCK_STREAM
    for end in (client, server, other, accepted):
        end.close()
