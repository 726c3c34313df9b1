# SPDX-License-Identifier: Apache-2.0
"""Where a decision could be missed: between SYN and accept, on ports out of the mesh, in records and conversations."""

import json
import select
import socket
import struct
import time

import pytest

from harness import manifests
from harness.kernel import Control
from harness.manifests import app, network_policy
from harness.meshed import BorrowedAddress
from harness.processes import run
from harness.world import eventually, family_number

TCP_DEFER_ACCEPT = 9
IP_PKTINFO, IPV6_PKTINFO = 8, 50


def only(name, *sources, subject="b", egress=None):
    """Pod `subject` hears the pods of `sources` and nobody else."""
    return network_policy(name, app(subject), ingress=[{"from": [{"podSelector": app(one)}]} for one in sources],
                          egress=egress)


def write_objects(meshed, **changes):
    """The manifests of the node with annotations changed: name of a pod -> annotations, or mesh=..."""
    objects = meshed.pod_objects({})[:2] + [
        meshed.pod_object(name, {"a": {"role": "client"}, "b": {"role": "server"}}.get(name), **changes.get(name, {}))
        for name in meshed.node.pods]
    meshed.agent.write_config("objects.yaml", *objects)


@pytest.mark.parametrize("source", ["u", "c"])
def test_a_change_between_syn_and_accept(meshed, policies, source):
    """The socket of an accepted connection is made by its first data (deferred accept), after the change: cut."""
    policies(only("b-hears", "u", "c"))
    listener, address = meshed.listen("b", 4, [(socket.IPPROTO_TCP, TCP_DEFER_ACCEPT, 10)])
    client = meshed.peer(source).socket(socket.AF_INET, socket.SOCK_STREAM)
    client.connect(address)
    policies(only("b-hears", "a"))
    assert meshed.outcome(source, "b", address[1]) == "ECONNREFUSED"
    with pytest.raises(OSError):
        for _ in range(50):
            client.send(b"too late")
            time.sleep(0.02)
    # Whatever the listener was given has ended, and nothing of it is heard any more.
    if listener.poll(select.POLLIN, 100):
        accepted, _ = listener.accept()
        with pytest.raises(OSError):
            accepted.send(b"answer")
            time.sleep(0.1)
            accepted.send(b"answer")
        accepted.close()
    for end in (client, listener):
        end.close()


def test_ports_out_of_the_mesh(meshed, policies, family):
    """skip-inbound-ports: everybody reaches the port, enrolled or not; the others keep their policy."""
    policies(only("b-hears-c", "c"))
    write_objects(meshed, b={"annotations": {"sockmesh.io/skip-inbound-ports": "8610"}})
    try:
        open_port, other = meshed.server("b", 8610, family), meshed.server("b", 8611, family)
        eventually(lambda: meshed.outcome("a", "b", 8610, family) == "ok", what="the port out of the mesh")
        for source in ("a", "c", "o", "u"):
            client = meshed.peer(source).socket(family_number(family), socket.SOCK_STREAM)
            client.connect((meshed.pod("b").address(family), 8610))
            accepted, name = open_port.accept()
            while tuple(name[:2]) != tuple(client.getsockname()[:2]):  # those of `outcome` above
                accepted.close()
                accepted, name = open_port.accept()
            client.send(b"question")
            assert accepted.recv(20) == b"question"
            accepted.send(b"answer")
            assert client.recv(20) == b"answer"
            client.close()
            accepted.close()
            assert meshed.outcome(source, "b", 8611, family) == ("ok" if source == "c" else "ECONNREFUSED")
    finally:
        open_port.close()
        other.close()
        write_objects(meshed)
        meshed.agent.ctl("status", "--wait")
        eventually(lambda: meshed.outcome("a", "b", 8610, family) == "ECONNREFUSED", what="the port's return")


def test_a_datagrams_own_source_is_looked_at(meshed, policies, family):
    """IP_PKTINFO chooses the source of one datagram, whatever the socket is bound to: refused if it is another pod's."""
    policies(only("b-hears", "a", "c"))
    b, c = meshed.pod("b").address(family), meshed.pod("c").address(family)
    server = meshed.peer("b").socket(family_number(family), socket.SOCK_DGRAM)
    server.bind((b, 5610))
    with BorrowedAddress(meshed, family):
        sender = meshed.peer("a").socket(family_number(family), socket.SOCK_DGRAM)
        if family == 4:
            control = [[socket.IPPROTO_IP, IP_PKTINFO, struct.pack("i4s4s", 0, socket.inet_aton(c), bytes(4))]]
        else:
            control = [[socket.IPPROTO_IPV6, IPV6_PKTINFO, socket.inet_pton(socket.AF_INET6, c) + struct.pack("i", 0)]]
        with pytest.raises(PermissionError):
            sender.sendmsg([b"i am c"], control, 0, (b, 5610))
        assert server.poll(select.POLLIN, 200) == 0
        sender.sendto(b"i am a", (b, 5610))
        assert server.recv(20) == b"i am a"
        sender.close()
    server.close()


def test_a_borrowed_address_leaves_its_owners_records_alone(meshed, policies):
    """A connection attempt with the four-tuple of somebody else's connection does not touch that one."""
    policies(only("b-hears", "a", "c"))
    client, server = meshed.connect(clients="c", servers="b")
    client.send(b"1")
    assert server.recv(1) == b"1"
    route = ("ip", "route"), (meshed.pod("b").ipv4, "dev", "eth0", "src", meshed.pod("c").ipv4)
    with BorrowedAddress(meshed, 4):
        run(*meshed.pod("a").enter(*route[0], "add", *route[1]))
        try:
            thief = meshed.peer("a").socket(socket.AF_INET, socket.SOCK_STREAM)
            thief.bind(("0.0.0.0", client.getsockname()[1]))
            thief.setblocking(False)
            with pytest.raises(OSError):
                thief.connect(server.getsockname())
            policies(network_policy("unrelated", app("a"), egress=[]))
            for end, other in ((client, server), (server, client)):
                end.send(b"2")
                assert other.recv(1) == b"2"
            assert meshed.paths(client) == [("redirect", None)] * 2
            thief.close()
        finally:
            run(*meshed.pod("a").enter(*route[0], "del", *route[1]))
    client.close()
    server.close()


def udp_from_nowhere(meshed, port):
    """A UDP datagram from :: to pod b, as an Ethernet frame of pod a."""
    def mac(name):
        link = json.loads(run(*meshed.pod(name).enter("ip", "-j", "link", "show", "eth0")).stdout)[0]
        return bytes.fromhex(link["address"].replace(":", ""))
    source, destination = bytes(16), socket.inet_pton(socket.AF_INET6, meshed.pod("b").ipv6)
    payload = struct.pack("!HHHH", 4000, port, 16, 0) + b"nowhere!"
    total = sum(struct.unpack("!36H", source + destination + struct.pack("!II", 16, 17) + payload[:32].ljust(32, b"\0")))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    payload = payload[:6] + struct.pack("!H", ~total & 0xFFFF or 0xFFFF) + payload[8:]
    return mac("b") + mac("a") + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 16, 17, 64) + source + destination + payload


def test_the_unspecified_address_is_nobody(meshed, policies):
    """A datagram from :: is no datagram of the pod to itself."""
    server = meshed.peer("b").socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind((meshed.pod("b").ipv6, 5620))
    sender = meshed.peer("a").socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sender.bind(("eth0", 0x86DD))
    sender.send(udp_from_nowhere(meshed, 5620))
    assert server.poll(select.POLLIN, 10_000), "the frame is one that arrives where no policy stands in its way"
    assert server.recv(20) == b"nowhere!"
    policies(network_policy("b-deaf", app("b"), ingress=[]))
    sender.send(udp_from_nowhere(meshed, 5620))
    assert server.poll(select.POLLIN, 300) == 0
    for end in (sender, server):
        end.close()


def test_a_conversation_lives_as_long_as_answers_come(meshed, policies, family):
    """One question, many answers: as long as they come it goes on; after a pause of `udp_idle_ns` it is over."""
    policies(only("b-hears-a", "a", egress=[]))
    control = Control(meshed.agent)
    before = control["udp_idle_ns"]
    control["udp_idle_ns"] = 1_000_000_000
    server = meshed.peer("b").socket(family_number(family), socket.SOCK_DGRAM)
    server.bind((meshed.pod("b").address(family), 5630))
    client = meshed.peer("a").socket(family_number(family), socket.SOCK_DGRAM)
    try:
        number, last = 0, None
        while number < 6:
            if last is None:
                last = time.monotonic()
                client.sendto(b"subscribe", (meshed.pod("b").address(family), 5630))
                _, sender = server.recvfrom(20)
            time.sleep(0.4)
            began = time.monotonic()
            try:
                server.sendto(b"news %d" % number, tuple(sender[:2]))
            except PermissionError:
                # A machine that stands still ends it as well: from the beginning then.
                assert time.monotonic() - last > 1, "it ended while answers came"
                number, last = 0, None
                continue
            last = began
            assert client.recv(20) == b"news %d" % number
            number += 1
        time.sleep(1.3)
        with pytest.raises(PermissionError):
            server.sendto(b"old news", tuple(sender[:2]))
    finally:
        control["udp_idle_ns"] = before
        control.close()
        client.close()
        server.close()


def test_questions_of_others_do_not_use_up_a_pods_share(meshed, policies):
    """A server under default-deny is asked from more ports than a pod may have conversations of its own."""
    policies(only("b-hears", "a", "c", egress=[]))
    control = Control(meshed.agent)
    before = control["udp_quota"]
    control["udp_quota"] = 16
    server = meshed.peer("b").socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((meshed.pod("b").ipv4, 5640))
    try:
        for number in range(64):
            # A pod of its own share each time: c has none left after 16, and asks all the same.
            client = meshed.peer("c" if number % 2 else "a").socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.sendto(b"%d" % number, (meshed.pod("b").ipv4, 5640))
            data, sender = server.recvfrom(20)
            assert data == b"%d" % number
            server.sendto(b"answer", tuple(sender[:2]))
            assert client.recv(20) == b"answer"
            client.close()
    finally:
        control["udp_quota"] = before
        control.close()
        server.close()


def test_a_server_over_its_share_refuses(meshed, policies):
    """What cannot be recorded could not be cut when policy changes: refused, where there is policy; others go on."""
    policies(only("b-hears", "u", "a"))
    control = Control(meshed.agent)
    before = control["ends_quota"]
    control["ends_quota"] = 16  # twice as many may be made to a pod
    listener, address = meshed.listen("b")
    held, refused = [], []
    try:
        for _ in range(40):
            client = meshed.peer("u").socket(socket.AF_INET, socket.SOCK_STREAM)
            client.connect(address)
            held.append(client)
        def look():
            """A refusal arrives a moment after the first byte."""
            for client in [one for one in held if one not in refused]:
                try:
                    client.send(b"x")
                except OSError:
                    refused.append(client)
            return len(refused) >= 8
        eventually(look, what="the end of the share, which is 32 of 40")
        assert len(refused) < 40
        assert meshed.outcome("c", "o", 1) == "ECONNREFUSED"
        # Its own connections are on another account.
        other, elsewhere = meshed.listen("o")
        own = meshed.peer("b").socket(socket.AF_INET, socket.SOCK_STREAM)
        own.connect(elsewhere)
        own.close()
        other.close()
    finally:
        control["ends_quota"] = before
        control.close()
        for client in held:
            client.close()
        listener.close()
