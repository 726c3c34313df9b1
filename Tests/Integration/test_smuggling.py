# SPDX-License-Identifier: Apache-2.0
"""Request smuggling (RFC 9112 section 11.2) through the node proxy, to nginx, Apache, Node and Python, which record what
they have read. Whatever is sent: no server sees a request that the proxy has not, and the next client of the same
connection gets the answer to its own request. Why each message is refused is tested in SmugglingTests.

Sources: Linhart et al., "HTTP Request Smuggling" (2005); Kettle, "HTTP Desync Attacks" (2019), "HTTP/2: The Sequel is
Always Worse" (2021), "Browser-Powered Desync Attacks" (2022), "HTTP/1.1 must die" (2025); Klein, "HTTP Request Smuggling
in 2020"; Jabiyev et al., "T-Reqs" (2021); Kallus et al., the HTTP Garden (2024).
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.processes import stop
from harness.realservers import RealServers
from harness.routed import ADDRESSES, PORT, Routed
from harness.world import eventually

SERVERS = ["nginx1", "apache1", "node1", "python1"]
_PROGRAM = Path(__file__).parent / "harness" / "raw_client.py"

# In all of these: PATH is the attack's own target, INNER a whole request that must reach nobody.
INNER = "GET SERVER/smuggled HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
_CHUNKED = "Transfer-Encoding: chunked\r\n"


def post(lines, body, first="POST PATH HTTP/1.1"):
    return f"{first}\r\nHost: a\r\n{lines}\r\n{body}"


def sized(lines, body=INNER, first="POST PATH HTTP/1.1"):
    """With the right Content-Length, beside what `lines` say."""
    return post(f"{lines}Content-Length: {{length}}\r\n", body, first)


# Refused in the head: no server may see anything of it.
IN_HEAD = {
    "CL.TE": sized(_CHUNKED, "0\r\n\r\n" + INNER),
    "TE.CL": post(f"{_CHUNKED}Content-Length: 4\r\n", "5c\r\n" + INNER + "\r\n0\r\n\r\n"),
    "CL.CL": sized("Content-Length: 0\r\n"),
    "CL.CL the other way": post("Content-Length: 999\r\nContent-Length: 0\r\n", INNER),
    "CL list": post("Content-Length: 0, 50\r\n", INNER),
    "CL with a sign": post("Content-Length: +0\r\n", INNER),
    "CL in hexadecimal": post("Content-Length: 0x0\r\n", INNER),
    "CL with a space inside": post("Content-Length: 0 0\r\n", INNER),
    "CL that overflows": post("Content-Length: 18446744073709551616\r\n", INNER),
    "CL empty": post("Content-Length:\r\n", INNER),
    "CL with a space before the colon": post("Content-Length : 50\r\n", INNER),
    "CL after a lone LF": post("X: y\nContent-Length: 50\r\n", INNER),
    "CL in a fold": post("X: y\r\n Content-Length: 50\r\n", INNER),
    "CL with a vertical tab": post("Content-Length: \x0b50\r\n", INNER),
    "TE with a space before the colon": sized("Transfer-Encoding : chunked\r\n", "0\r\n\r\n" + INNER),
    "TE with a tab before the colon": sized("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n" + INNER),
    "TE after a lone CR": sized("X: y\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + INNER),
    "TE after a lone LF": sized("X: y\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + INNER),
    "TE folded": sized("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n" + INNER),
    "TE x": sized("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n" + INNER),
    "TE twice": post(_CHUNKED * 2, "0\r\n\r\n" + INNER),
    "TE and another": post(f"{_CHUNKED}Transfer-Encoding: x\r\n", "0\r\n\r\n" + INNER),
    "TE identity": sized("Transfer-Encoding: identity\r\n"),
    "TE chunked, identity": post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n" + INNER),
    "TE quoted": sized('Transfer-Encoding: "chunked"\r\n', "0\r\n\r\n" + INNER),
    "TE with a vertical tab": sized("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n" + INNER),
    "TE with NUL": sized("Transfer-Encoding: chunked\x00\r\n", "0\r\n\r\n" + INNER),
    "TE beyond ASCII": sized("Transfer-Encoding: chunked\xff\r\n", "0\r\n\r\n" + INNER),
    "TE in HTTP/1.0": post(_CHUNKED, "0\r\n\r\n" + INNER, first="POST PATH HTTP/1.0"),
    "two hosts": "GET PATH HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + INNER,
    "a host with a request in it": "GET PATH HTTP/1.1\r\nHost: a\x00\r\n\r\n" + INNER,
    "whitespace before the first field": "GET PATH HTTP/1.1\r\n Host: a\r\n\r\n" + INNER,
    "a request in the version": "GET PATH HTTP/1.1 " + INNER,
    "a lone LF as the end of the line": "GET PATH HTTP/1.1\nHost: a\n\n" + INNER,
    "HTTP/2.0 in words": "GET PATH HTTP/2.0\r\nHost: a\r\n\r\n" + INNER,
    "HTTP/0.9": "GET PATH\r\n\r\n" + INNER,
}

# The head is sound, the body is not: one answer, whoever's, and the connection is not used again.
IN_BODY = {
    "a chunk size with a space": post(_CHUNKED, "2 \r\nxx\r\n0\r\n\r\n" + INNER),
    "a chunk size with 0x": post(_CHUNKED, "0x2\r\nxx\r\n0\r\n\r\n" + INNER),
    "a chunk size that overflows": post(_CHUNKED, "10000000000000002\r\nxx\r\n0\r\n\r\n" + INNER),
    "a chunk size ended by LF": post(_CHUNKED, "2\nxx\r\n0\r\n\r\n" + INNER),
    "a chunk longer than its size": post(_CHUNKED, "2\r\nxxx\r\n0\r\n\r\n" + INNER),
    "a chunk ended by LF": post(_CHUNKED, "2\r\nxx\n0\r\n\r\n" + INNER),
    "an extension ended by LF": post(_CHUNKED, "2;\nxx\r\n4c\r\n0\r\n\r\n" + INNER),
    "an extension with a lone CR": post(_CHUNKED, "2;a\rb\r\nxx\r\n0\r\n\r\n" + INNER),
    "the last chunk ended by LF": post(_CHUNKED, "0\n\n" + INNER),
    "a trailer with a length": post(_CHUNKED, "0\r\nContent-Length: 50\r\n\r\n" + INNER),
    "a trailer with a coding": post(_CHUNKED, "0\r\nTransfer-Encoding: chunked\r\n\r\n" + INNER),
    "a body that ends early": post("Content-Length: 5000\r\n", INNER),
    "chunks that end early": post(_CHUNKED, "ffff\r\n" + INNER),
}

# Sound, however strange: each server reads exactly these targets, and INNER as the content that it is.
SOUND = {
    "a request in a body": (sized(""), ["/attack"]),
    "a request in a body of GET": (sized("", first="GET PATH HTTP/1.1"), ["/attack"]),
    "a request in a chunk": (post(_CHUNKED, "{size}\r\n" + INNER + "\r\n0\r\n\r\n"), ["/attack"]),
    "a request in a chunk in capitals": (post("TRANSFER-ENCODING: Chunked\r\n", "{size}\r\n" + INNER + "\r\n0\r\n\r\n"),
                                         ["/attack"]),
    "a request in an extension": (post(_CHUNKED, "2;a=GET-smuggled\r\nxx\r\n0\r\n\r\n"), ["/attack"]),
    "a request in a trailer": (post(_CHUNKED, "2\r\nxx\r\n0\r\nX: GET /smuggled\r\n\r\n"), ["/attack"]),
    "a length that the connection is to lose": (sized("Connection: close, Content-Length\r\n"), ["/attack"]),
    "an expectation": (sized("Expect: 100-continue\r\n"), ["/attack"]),
    "two requests at once": ("GET PATH HTTP/1.1\r\nHost: a\r\n\r\n" + "GET PATH2 HTTP/1.1\r\nHost: a\r\n\r\n",
                             ["/attack", "/attack2"]),
    "HEAD and a request": ("HEAD PATH HTTP/1.1\r\nHost: a\r\n\r\n" + "GET PATH2 HTTP/1.1\r\nHost: a\r\n\r\n",
                           ["/attack", "/attack2"]),
    "an absolute target": ("GET http://bPATH HTTP/1.1\r\nHost: a\r\n\r\n", ["/attack"]),
}

_PSEUDO = [[":method", "POST"], [":scheme", "http"], [":path", "PATH"], [":authority", "a"]]


def replaced(name, value):
    return [[key, value if key == name else old] for key, old in _PSEUDO]


# Requests of HTTP/2 that HTTP/1.1 would read as others. Refused; no server may see them.
HTTP2 = {
    "TE": [*_PSEUDO, ["transfer-encoding", "chunked"]],
    "two lengths": [*_PSEUDO, ["content-length", "LENGTH"], ["content-length", "0"]],
    "CRLF in a value": [*_PSEUDO, ["x", "a\r\nTransfer-Encoding: chunked"]],
    "LF in a value": [*_PSEUDO, ["x", "a\nTransfer-Encoding: chunked"]],
    "CR in a value": [*_PSEUDO, ["x", "a\rTransfer-Encoding: chunked"]],
    "NUL in a value": [*_PSEUDO, ["x", "a\x00b"]],
    "CRLF in a name": [*_PSEUDO, ["x: y\r\ntransfer-encoding", "chunked"]],
    "a colon in a name": [*_PSEUDO, ["transfer-encoding: chunked", "x"]],
    "a space in a name": [*_PSEUDO, ["transfer-encoding ", "chunked"]],
    "capitals in a name": [*_PSEUDO, ["Transfer-Encoding", "chunked"]],
    "a request in the path": replaced(":path", "PATH HTTP/1.1\r\nHost: a\r\n\r\n" + INNER),
    "a space in the path": replaced(":path", "PATH HTTP/1.1"),
    "a request in the method": replaced(":method", "GET PATH HTTP/1.1\r\nHost: a\r\n\r\nGET"),
    "a space in the method": replaced(":method", "GET PATH"),
    "a request in the authority": replaced(":authority", "a\r\n\r\n" + INNER),
    "another host": [*_PSEUDO, ["host", "b"]],
    "a field of the connection": [*_PSEUDO, ["connection", "content-length"]],
    "an upgrade": [*_PSEUDO, ["upgrade", "h2c"]],
    "a second path": [*_PSEUDO[:3], [":path", "SERVER/smuggled"], *_PSEUDO[3:]],
    "an unknown pseudo-field": [*_PSEUDO, [":x", "y"]],
    "a pseudo-field after a field": [*_PSEUDO[:3], ["x", "y"], _PSEUDO[3]],
}

# Known only when the content comes, or does not: a server may have been asked by then, but reads no other request.
HTTP2_LENGTHS = {
    "a shorter length": [*_PSEUDO, ["content-length", "0"]],
    "a longer length": [*_PSEUDO, ["content-length", "9999"]],
}


class Attacker:
    def __init__(self, routed):
        self.routed = routed
        self._process = routed.meshed.spawn("a", sys.executable, _PROGRAM, ADDRESSES["web"], str(PORT),
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n"
        self._victims = 0

    def do(self, **command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def send(self, text):
        """The statuses that came."""
        return [int(status) for status in re.findall(r"HTTP/1\.1 (\d{3}) ", self.do(bytes=text))]

    def victims_are_well(self, servers, server):
        """Others ask meanwhile, by the same connections to the server, and get what they asked for. When the last of
        them has its answer, everything before it has been read, or never will be."""
        for _ in range(3):
            self._victims += 1
            told = self.do(bytes=f"GET /{server}/victim{self._victims} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert re.match(r"HTTP/1\.1 200 ", told), told
            assert re.findall(r"(?im)^x-path: (.*?)\r$", told) == [f"/victim{self._victims}"], told
        last = f"/victim{self._victims}"
        eventually(lambda: any(one["target"] == last for one in servers.seen(server)), what="the record of the last")

    def close(self):
        stop(self._process)


@pytest.fixture(scope="module")
def servers():
    # One worker has one pool of connections to each server: what is left on one of them meets the next client.
    routed = Routed(["--proxy-workers", "1"])
    made = RealServers(routed, SERVERS)
    made.route()
    made.attacker = Attacker(routed)
    for name in SERVERS:
        eventually(lambda name=name: made.attacker.send(f"GET /{name}/ready HTTP/1.1\r\nHost: a\r\n\r\n") == [200],
                   what=f"the route to {name}")
    yield made
    made.attacker.close()
    made.close()
    routed.close()


def written(text, server):
    inner = INNER.replace("SERVER", f"/{server}")
    text = text.replace(INNER, inner)
    body = text.partition("\r\n\r\n")[2]
    return text.replace("PATH2", f"/{server}/attack2").replace("PATH", f"/{server}/attack").replace(
        "{length}", str(len(body))).replace("{size}", f"{len(inner):x}")


def since(servers, server, before):
    """What the server has read, but for the victims'."""
    found = servers.seen(server)[before:]
    return [one for one in found if not one["target"].startswith("/victim")]


def smuggled(found):
    return [one for one in found if "smuggled" in one["target"]]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", IN_HEAD)
def test_what_is_refused_in_its_head_reaches_no_server(servers, server, name):
    before = len(servers.seen(server))
    statuses = servers.attacker.send(written(IN_HEAD[name], server))
    assert len(statuses) == 1 and statuses[0] >= 400, statuses
    servers.attacker.victims_are_well(servers, server)
    assert since(servers, server, before) == []


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", IN_BODY)
def test_a_broken_body_leaves_nothing_on_the_connection(servers, server, name):
    before = len(servers.seen(server))
    statuses = servers.attacker.send(written(IN_BODY[name], server))
    assert len(statuses) <= 1, statuses
    servers.attacker.victims_are_well(servers, server)
    assert smuggled(since(servers, server, before)) == []


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound_is_read_as_it_was_meant(servers, server, name):
    text, targets = SOUND[name]
    before = len(servers.seen(server))
    statuses = servers.attacker.send(written(text, server))
    # Apache has files only, and answers a POST with 405.
    assert [status for status in statuses if status not in (100, 405)] == [200] * len(targets) or (
        server == "apache1" and statuses[-1:] == [405] and len(targets) == 1), statuses
    servers.attacker.victims_are_well(servers, server)
    found = since(servers, server, before)
    assert [one["target"] for one in found] == targets
    if INNER in text and server in ("node1", "python1"):  # they record contents
        assert found[0]["body"] == INNER.replace("SERVER", f"/{server}")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", HTTP2)
def test_requests_of_http2_that_http1_would_read_otherwise_reach_no_server(servers, server, name):
    before = len(servers.seen(server))
    assert_refused(servers, server, HTTP2[name])
    assert since(servers, server, before) == []


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", HTTP2_LENGTHS)
def test_a_length_of_http2_that_is_not_the_contents_leaves_nothing(servers, server, name):
    before = len(servers.seen(server))
    assert_refused(servers, server, HTTP2_LENGTHS[name])
    found = since(servers, server, before)
    assert len(found) <= 1 and smuggled(found) == []


def assert_refused(servers, server, pairs):
    body = f"0\r\n\r\n{INNER}".replace("SERVER", f"/{server}")
    fields = [[key, written(value, server).replace("SERVER", f"/{server}").replace("LENGTH", str(len(body)))]
              for key, value in pairs]
    found = servers.attacker.do(fields=fields, body=body)
    assert found in ("reset", "end") or found >= 400, found
    servers.attacker.victims_are_well(servers, server)
