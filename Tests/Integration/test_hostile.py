# SPDX-License-Identifier: Apache-2.0
"""What a process inside a pod can try: forged sources, raw packets, leaving the cgroup, squatting."""

import select
import socket
import struct

import pytest

from harness.manifests import app, network_policy
from harness.meshed import BorrowedAddress
from harness.remote import Peer
from harness.world import eventually

PORT = 8300
IP_FREEBIND, IPV6_FREEBIND = 15, 78
ONLY_C = network_policy("b-hears-c", app("b"), ingress=[{"from": [{"podSelector": app("c")}]}])


@pytest.fixture
def listener(meshed):
    made = meshed.server("b", PORT)
    yield made
    made.close()


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source, destination, source_port, port):
    """An Ethernet-less IPv4 SYN."""
    tcp = struct.pack("!HHIIBBHHH", source_port, port, 12345, 0, 5 << 4, 2, 64240, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 7, 0, 64, 6, 0,
                         socket.inet_aton(source), socket.inet_aton(destination))
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + tcp


def assert_never_accepted(listener):
    assert listener.poll(select.POLLIN, 300) == 0


def test_binding_a_neighbours_address(meshed, policies, listener):
    """Pod a takes the address of c, whom policy lets in. Its namespace proves that it is not c."""
    policies(ONLY_C)
    attacker = meshed.peer("a").socket(socket.AF_INET, socket.SOCK_STREAM)
    attacker.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    attacker.bind((meshed.pod("c").ipv4, 0))
    attacker.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
    with pytest.raises(OSError):
        attacker.connect((meshed.pod("b").ipv4, PORT))
    attacker.close()
    assert_never_accepted(listener)


def test_a_neighbours_address_without_any_policy(meshed, listener):
    """The pod of the address is taken to be the sender by nobody, policy or not."""
    attacker = meshed.peer("a").socket(socket.AF_INET, socket.SOCK_STREAM)
    attacker.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    attacker.bind((meshed.pod("c").ipv4, 0))
    attacker.setblocking(False)
    with pytest.raises(OSError):
        attacker.connect((meshed.pod("b").ipv4, PORT))
    assert_never_accepted(listener)
    attacker.close()


def test_raw_sockets_are_refused(meshed, family):
    number, protocol = (socket.AF_INET, socket.IPPROTO_ICMP) if family == 4 else (socket.AF_INET6, 58)
    with pytest.raises(PermissionError):
        meshed.peer("a").socket(number, socket.SOCK_RAW, protocol)


def test_a_syn_that_no_socket_sent(meshed, policies, listener):
    """From outside the mesh's cgroup, with the address of pod a: an enrolled pod's SYN has a record, this has none."""
    policies(network_policy("b-hears-a", app("b"), ingress=[{"from": [{"podSelector": app("a")}]}]))
    raw = Peer(meshed.pod("u").enter(), "raw")
    try:
        sender = raw.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        for source in ("a", "c"):
            for port in range(40_000, 40_010):
                packet = syn(meshed.pod(source).ipv4, meshed.pod("b").ipv4, port, PORT)
                sender.sendto(packet, (meshed.pod("b").ipv4, 0))
        assert_never_accepted(listener)
        meshed.denial(PORT, "no-record")
    finally:
        raw.close()


def test_a_process_outside_the_cgroup(meshed, policies, listener):
    """It shares the pod's namespace but no hook sees it: the destination refuses it, and the agent reports it."""
    policies(network_policy("b-hears-a", app("b"), ingress=[{"from": [{"podSelector": app("a")}]}]))
    stray = Peer(meshed.pod("a").enter(), "stray")
    try:
        client = stray.socket(socket.AF_INET, socket.SOCK_STREAM)
        with pytest.raises(ConnectionRefusedError):
            client.connect((meshed.pod("b").ipv4, PORT))
        assert_never_accepted(listener)

        def reported():
            workload = next(w for w in meshed.agent.json("workloads") if w["name"] == "a" and w["namespace"] == "test")
            return any(process["pid"] == stray.pid for process in workload["outsideProcesses"])
        eventually(reported, what="the report of a process outside the cgroup")
    finally:
        stray.close()


def test_udp_from_a_neighbours_address(meshed, policies, family):
    """Datagrams with the address of c, sent by a, do not pass a policy that lets c in."""
    policies(ONLY_C)
    number = socket.AF_INET if family == 4 else socket.AF_INET6
    server = meshed.peer("b").socket(number, socket.SOCK_DGRAM)
    server.bind((meshed.pod("b").address(family), 5600))
    attacker = meshed.peer("a").socket(number, socket.SOCK_DGRAM)
    # With it, a datagram of a connected socket, which meets no hook, could have any source (IPV6_PKTINFO).
    with pytest.raises(PermissionError):
        attacker.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    if family == 6:
        with pytest.raises(PermissionError):
            attacker.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    with BorrowedAddress(meshed, family):
        attacker.bind((meshed.pod("c").address(family), 5600))
        with pytest.raises(OSError):
            attacker.sendto(b"i am c", (meshed.pod("b").address(family), 5600))
        assert server.poll(select.POLLIN, 200) == 0
    for end in (server, attacker):
        end.close()
