# SPDX-License-Identifier: Apache-2.0
"""Endpoints that come and go under open connections.

TCP and connected UDP are cut when their Service lists their endpoint no more; unconnected UDP sockets keep their port,
and their next datagram goes where the Service leads now.
"""

import socket

import pytest

from harness.listed import UDP_PORT, UDP_TARGET, listed, slice_of, virtual, web
from harness.manifests import service
from harness.meshed import Meshed
from harness.processes import run
from harness.services import PORT, TARGET, V4, V6
from harness.talk import Talk, ask_and_answer, datagram_server
from harness.world import eventually, family_number


@pytest.fixture(scope="module")
def datagram_backends(meshed):
    """Unconnected UDP sockets of b and c on the target port in both families."""
    made = {(pod, family): datagram_server(meshed, pod, meshed.pod(pod).address(family), UDP_TARGET)
            for pod in ("b", "c") for family in (4, 6)}
    yield made
    for server in made.values():
        server.close()


@pytest.fixture
def talk(meshed, backends, datagram_backends, family):
    """talk(address) is what pod a has open with pod b by the Service, or by b's own address if it is that."""
    made = []

    def begin(address, source="a"):
        ports = (PORT, UDP_PORT) if address in (V4, V6) else (TARGET, UDP_TARGET)
        made.append(Talk(meshed.peer(source), address, ports, backends["b", family], datagram_backends["b", family],
                         loose=source != "b"))
        return made[-1]
    yield begin
    for each in made:
        each.close()


@pytest.mark.parametrize("accelerate", ["enabled", "disabled"])
def test_an_endpoint_that_is_listed_no_more_loses_its_connections(
        meshed, services, datagram_backends, pods, talk, family, accelerate):
    """Though its pod lives on. By redirect and by plain TCP."""
    pods([meshed.pod_object(name, accelerate=accelerate) for name in meshed.node.pods])
    eventually(lambda: {report["acceleration"]["requested"] for report in meshed.agent.json("workloads")}
               == {accelerate}, what="the annotation")
    services(web(), *listed(meshed, "b"), pods={"b"})
    conversation = talk(virtual(family))
    assert meshed.paths(conversation.tcp)[0][0] == ("redirect" if accelerate == "enabled" else "tcp")
    services(web(), *listed(meshed, "c"), pods={"c"})
    conversation.is_cut()
    for protocol, port in (("TCP", conversation.tcp_port), ("UDP", conversation.udp_port)):
        event, = [event for event in meshed.agent.json("flows") if event["kind"] == "cut"
                  and (event["protocol"], event["source"]["port"]) == (protocol, port)]
        assert (event["reason"], event["serviceAddress"]["service"]) == ("no-endpoint", "test/web")
        assert event["source"]["workload"] == "test/a"
        assert event["destination"]["workload"] == "test/b"
    # The unconnected socket goes where the Service leads now, from the port that it has had.
    port = ask_and_answer(conversation.loose, datagram_backends["c", family], (virtual(family), UDP_PORT))
    assert port == conversation.loose_port


@pytest.mark.parametrize("conditions", [
    {"ready": False}, {"ready": False, "serving": False, "terminating": True},
    {"ready": False, "serving": True, "terminating": True}], ids=["unready", "terminating", "serving"])
def test_a_listed_endpoint_keeps_its_connections_whatever_its_state(meshed, services, talk, family, conditions):
    services(web(), *listed(meshed, "b"), pods={"b"})
    conversation = talk(virtual(family))
    services(web(), *listed(meshed, "b", **conditions), *listed(meshed, "c"), pods={"c"})
    conversation.is_kept()
    conversation.goes_on(loose=False)
    # Nothing that a client would use differs between these two, and no verdict does.
    services(web(), *listed(meshed, "c"), pods={"c"})
    conversation.is_cut()


def test_a_pod_that_the_selector_no_longer_matches_loses_its_connections(meshed, services, pods, talk, family):
    services(web({"role": "server"}), pods={"b"})
    conversation = talk(virtual(family))
    pods([meshed.pod_object(name, {"role": "server"} if name == "c" else None) for name in meshed.node.pods])
    conversation.is_cut()


def test_a_deleted_service_takes_nobodys_connections(meshed, services, talk, family):
    services(web(), *listed(meshed, "b"), pods={"b"})
    conversation = talk(virtual(family))
    services(*listed(meshed, "c"), service("other", None, [(PORT, TARGET)], ["10.96.0.11"]), pods=set())
    conversation.is_kept()
    conversation.goes_on(loose=False)


def test_a_connection_past_the_service_is_not_the_services(meshed, services, talk, family):
    services(web(), *listed(meshed, "b"), pods={"b"})
    conversation = talk(meshed.pod("b").address(family))
    services(web(), *listed(meshed, "c"), pods={"c"})
    conversation.is_kept()
    conversation.goes_on()


def test_a_udp_socket_that_reconnects_past_the_service(meshed, services, talk, family):
    """What its first connect() left must not be held against it."""
    services(web(), *listed(meshed, "b"), pods={"b"})
    conversation = talk(meshed.pod("b").address(family))
    for address in ((virtual(family), UDP_PORT), (meshed.pod("b").address(family), UDP_TARGET)):
        conversation.udp.connect(address)
    services(web(), *listed(meshed, "c"), pods={"c"})
    conversation.is_kept()
    conversation.goes_on()


def test_a_pod_that_is_its_own_endpoint(meshed, services, talk, family):
    """Policy does not speak of what a pod has with itself; the Service does."""
    services(web(), *listed(meshed, "b"), pods={"b"})
    conversation = talk(virtual(family), source="b")
    services(web(), *listed(meshed, "c"), pods={"c"})
    conversation.is_cut()


def test_both_connected_ends_of_a_udp_exchange_are_cut(meshed, services, talk, datagram_backends, family):
    """A server that connects a socket of its own to each client, as DTLS servers do."""
    services(web(), *listed(meshed, "b"), pods={"b"})
    conversation = talk(virtual(family))
    answering = datagram_server(meshed, "b", meshed.pod("b").address(family), UDP_TARGET)
    answering.connect((meshed.pod("a").address(family), conversation.udp_port))
    pending = answering.later("recv", 1).wait_blocked()
    services(web(), *listed(meshed, "c"), pods={"c"})
    conversation.is_cut()
    with pytest.raises(ConnectionAbortedError):
        pending.result()
    answering.close()


def test_an_endpoint_that_is_no_pod(meshed, services, family):
    """An address outside the mesh: kept while it is listed, ready or not, and cut like a pod's."""
    address = "10.81.9.1" if family == 4 else "fd81::901"
    run("ip", "-n", meshed.pod("u").netns, "addr", "add", f"{address}/{16 if family == 4 else 64}", "dev", "eth0",
        *(["nodad"] if family == 6 else []))
    peer = meshed.peer("u")
    listener = peer.socket(family_number(family), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, TARGET))
    listener.listen(8)
    datagrams = datagram_server(meshed, "u", address, UDP_TARGET)
    services(web(), slice_of("far", family, [address]), pods={""})
    conversation = Talk(meshed.peer("a"), virtual(family), (PORT, UDP_PORT), listener, datagrams)
    services(web(), slice_of("far", family, [address], ready=False), *listed(meshed, "c"), pods={"c"})
    conversation.is_kept()
    services(web(), *listed(meshed, "c"), pods={"c"})
    conversation.is_cut()
    for each in (conversation, listener, datagrams):
        each.close()


def test_an_endpoint_that_went_while_no_agent_ran(family):
    """kill -9 before the sweep: the maps may say the same before and after, so only the objects can tell."""
    node = Meshed(pods=("a", "b", "c"))
    try:
        node.agent.write_config("services.yaml", web(), *listed(node, "b"))
        eventually(lambda: node.agent.json("services"), what="the Service")
        listener = node.server("b", TARGET, family)
        datagrams = datagram_server(node, "b", node.pod("b").address(family), UDP_TARGET)
        conversation = Talk(node.peer("a"), virtual(family), (PORT, UDP_PORT), listener, datagrams)
        direct = Talk(node.peer("a"), node.pod("b").address(family), (TARGET, UDP_TARGET), listener, datagrams)
        node.agent.write_config("services.yaml", web(), *listed(node, "b", ready=False), *listed(node, "c"))
        eventually(lambda: [backend["address"] for report in node.agent.json("services")
                            for frontend in report["frontends"] for backend in frontend["backends"]][:1] == [
                                node.pod("c").ipv4], what="the other endpoint")
        node.agent.kill()
        node.agent.write_config("services.yaml", web(), *listed(node, "c"))
        node.agent.start()
        conversation.is_cut()
        direct.is_kept()
        direct.goes_on()
    finally:
        node.remove()
