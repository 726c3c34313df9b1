# SPDX-License-Identifier: Apache-2.0
"""Tunnels that peers open (HBONE), on loopback: the worker's own loop against Python's ssl and h2."""

import socket
import subprocess
import sys
import ssl

import h2.errors
import pytest

from harness.hbone import exactly, to_end
from harness.processes import own_memory, root_of_repository, spawn, stop
from harness.tunnels import application, dial, mesh, probes, server  # noqa: F401 (fixtures)


def test_half_close_of_the_client(server, mesh, application):
    end = dial(server, mesh)
    assert end.alpn == "h2"
    stream = end.connect(f"127.0.0.1:{application.port}", ("forwarded", 'for="10.0.0.1:1";host=web.shop.svc'))
    plain = application.accept()
    assert end.status(stream) == 200
    end.send(stream, b"question", end=True)
    assert to_end(plain) == b"question"
    plain.sendall(b"answer")
    assert end.read(stream, 6) == b"answer"
    plain.close()
    end.to_end(stream)
    told = server.wait("tunnel")
    assert (told["reason"], told["peer"], told["service"]) == ("finished", mesh.id("web"), "web.shop.svc")
    assert (told["received"], told["sent"]) == (6, 8)


def test_half_close_of_the_application(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    plain.sendall(b"greeting")
    plain.shutdown(socket.SHUT_WR)
    assert end.to_end(stream) == b"greeting"
    end.send(stream, b"late", end=False)
    assert exactly(plain, 4) == b"late"
    end.send(stream, b"", end=True)
    assert to_end(plain) == b""
    assert server.wait("tunnel")["reason"] == "finished"


@pytest.mark.parametrize("code", ["CONNECT_ERROR", "CANCEL"])
def test_a_reset_stream_resets_the_socket(server, mesh, application, code):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    end.reset(stream, h2.errors.ErrorCodes[code])
    with pytest.raises(ConnectionResetError):
        to_end(plain)
    assert code in server.wait("tunnel")["reason"]


def test_a_reset_socket_resets_the_stream(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    plain.close()
    end.until(lambda: stream in end.resets, "the reset")
    assert end.resets[stream] == h2.errors.ErrorCodes.CONNECT_ERROR
    assert server.wait("tunnel")["reason"] == "applicationReset"


@pytest.mark.parametrize("behind", [0, 1 << 17])
@pytest.mark.parametrize("body, alert, why", [
    (32, "SSLV3_ALERT_BAD_RECORD_MAC", "not what the peer has sent"),
    (0x4100, "TLSV1_ALERT_RECORD_OVERFLOW", "16640 bytes"),
])
def test_who_breaks_a_record_is_told_why(server, mesh, application, body, alert, why, behind):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    # What is behind it, much or little, is not looked at, and resets nothing.
    end.send_raw(b"\x17\x03\x03" + body.to_bytes(2, "big") + bytes(body) + bytes(behind))
    assert end.alert() == alert
    with pytest.raises(ConnectionResetError):
        to_end(plain)
    failure = server.wait("failure")
    assert failure["reason"] == "connectionLost" and why in failure["detail"]
    end.close()


def test_refusals_leave_the_connection(server, mesh, application):
    end = dial(server, mesh)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    cases = [(f"127.0.0.2:{application.port}", 400), ("127.0.0.1:15008", 503),
             (f"127.0.0.1:{nobody}", 503), ("other.shop.svc.cluster.local:80", 503)]
    for authority, status in cases:
        stream = end.connect(authority)
        assert end.status(stream) == status, authority
        end.to_end(stream)
    malformed = end.connect("nonsense")
    end.until(lambda: malformed in end.resets, "the reset")
    assert end.resets[malformed] == h2.errors.ErrorCodes.PROTOCOL_ERROR
    get = end.h2.get_next_available_stream_id()
    end.h2.send_headers(get, [(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/")], True)
    end.flush()
    assert end.status(get) == 400
    server.settle("policy", deny="denied by shop/web")
    stream = end.connect(f"127.0.0.1:{application.port}")
    assert end.status(stream) == 401
    assert server.wait("tunnel", reason="refused(L7Proxy.HBONERefusal.denied)")["detail"] == "denied by shop/web"
    server.settle("policy")
    stream = end.connect(f"web.shop.svc.cluster.local:{application.port}")
    application.accept()
    assert end.status(stream) == 200


def test_a_changed_policy_cuts_what_it_denies(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    server.settle("policy", deny="denied by shop/new")
    end.until(lambda: stream in end.resets, "the reset")
    with pytest.raises(ConnectionResetError):
        to_end(plain)
    told = server.wait("tunnel")
    assert (told["reason"], told["detail"]) == ("policyChanged", "denied by shop/new")


def test_while_a_configuration_is_refused_only_what_is_open_goes_on(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    server.settle("policy", closed="the configuration is refused")
    assert end.status(end.connect(f"127.0.0.1:{application.port}")) == 401
    assert server.wait("tunnel")["detail"] == "the configuration is refused"
    plain.sendall(b"goes on")
    assert end.read(stream, 7) == b"goes on"
    server.settle("policy")
    assert end.status(end.connect(f"127.0.0.1:{application.port}")) == 200


def test_one_source_does_not_take_all(probes, mesh, application):
    server = probes(identity=mesh.id("db"), limits={"tunnelsPerSource": 2, "connectionsPerSource": 2})
    ends = [dial(server, mesh) for _ in range(2)]
    streams = [end.connect(f"127.0.0.1:{application.port}") for end in ends]
    plains = [application.accept() for _ in streams]
    assert [end.status(stream) for end, stream in zip(ends, streams)] == [200, 200]
    assert ends[0].status(ends[0].connect(f"127.0.0.1:{application.port}")) == 503
    assert "has 2 tunnels already" in server.wait("tunnel")["detail"]
    with pytest.raises((ConnectionError, ssl.SSLError)):
        dial(server, mesh)
    assert "has 2 already" in server.wait("failure", reason="tooMany")["detail"]
    # What one gives back it may have again.
    for end, stream, plain in zip(ends, streams, plains):
        end.send(stream, b"", end=True)
        plain.close()
    for _ in streams:
        server.wait("tunnel", reason="finished")
    stream = ends[0].connect(f"127.0.0.1:{application.port}")
    assert ends[0].status(stream) == 200


def test_data_before_the_answer_waits(probes, mesh, application):
    server = probes(identity=mesh.id("db"), defers=True)
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    end.send(stream, b"eager", end=True)
    assert to_end(application.accept()) == b"eager"


def test_two_hundred_streams(server, mesh, application):
    end = dial(server, mesh)
    streams = [end.connect(f"127.0.0.1:{application.port}") for _ in range(200)]
    accepted = [application.accept() for _ in streams]
    for stream in streams:
        assert end.status(stream) == 200
        end.send(stream, stream.to_bytes(4, "big"))
    for plain in accepted:
        plain.sendall(exactly(plain, 4) * 2)
        plain.close()
    for stream in streams:
        assert end.to_end(stream) == stream.to_bytes(4, "big") * 2
    assert server.counters()["connections"] == 1


def test_drain_in_two_steps(server, mesh, application):
    end = dial(server, mesh)
    stream = end.connect(f"127.0.0.1:{application.port}")
    plain = application.accept()
    assert end.status(stream) == 200
    server.do("drain", milliseconds=30000)
    end.until(lambda: len(end.goaways) == 2, "both GOAWAY frames")
    assert end.goaways == [(2**31 - 1, h2.errors.ErrorCodes.NO_ERROR), (stream, h2.errors.ErrorCodes.NO_ERROR)]
    plain.sendall(b"still here")
    assert end.read(stream, 10) == b"still here"
    plain.close()
    end.send(stream, b"", end=True)
    server.wait("drained")


def test_pings(probes, mesh):
    server = probes(identity=mesh.id("db"), limits={"pingInterval": 50, "pingTimeout": 300})
    end = dial(server, mesh)
    end.until(lambda: end.pings >= 3, "three pings")
    # From now on nothing is read, so nothing is answered.
    assert server.wait("failure")["reason"] == "peerSilent"


def test_an_idle_connection_takes_little(probes, mesh, tmp_path):
    """Nearly all of it is OpenSSL 3.0's session with the peer's certificates, and nghttp2's."""
    server = probes(identity=mesh.id("db"), limits={"pingInterval": 100, "pingTimeout": 60_000})
    (tmp_path / "own").write_text(mesh.svid("web"))
    (tmp_path / "root").write_text(mesh.root)

    def held(count):
        process = spawn(sys.executable, root_of_repository() / "scripts/bench/mtlsclient.py", "idle", "127.0.0.1", server.peers,
                        tmp_path / "own", tmp_path / "root", count, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "ready\n"
            return own_memory(server.pid)
        finally:
            process.stdin.close()
            stop(process)
    few, many = held(10), held(70)
    each = (many - few) / 60
    print(f"{each:.0f} bytes for an idle connection")
    assert each <= 40 << 10
