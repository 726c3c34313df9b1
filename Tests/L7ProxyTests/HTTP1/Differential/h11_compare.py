# SPDX-License-Identifier: Apache-2.0
"""Compares our readings of HTTP/1 messages with h11's, an independent parser that knows nothing of ours.

usage: h11_compare.py READINGS

READINGS has one JSON object a line: kind, input (hexadecimal) and what our parser made of it. Whatever ours accepts,
h11 must read alike: the same first line, fields, body, trailers and end. Ours may refuse more. Prints one JSON object:
how many messages were compared, and each difference that JUSTIFIED does not explain.
"""
import collections
import json
import re
import sys

import h11

# Differences that are ours by intent: name, the reason, and how to tell. Each only explains that h11 REFUSES what we
# read; that both read a message and read it differently is never justified.
JUSTIFIED = {
    "leading empty line": (
        "RFC 9112 section 2.2: a server should ignore an empty line before a request; h11 does not",
        lambda kind, data: kind == "request" and data.startswith(b"\r\n"),
    ),
    "whitespace before a chunk extension": (
        "RFC 9110 section 5.6.3: BWS must be parsed and removed; h11 refuses it",
        lambda kind, data: re.search(rb"\r\n[0-9A-Fa-f]+[ \t]+;", data) is not None,
    ),
    "whitespace before a colon in a response": (
        "RFC 9112 section 5.1: a proxy must remove it; h11 refuses it",
        lambda kind, data: kind == "response" and re.search(rb"\r\n[^\r\n:]*[ \t]+:", data) is not None,
    ),
    "a transfer coding of a response without a body": (
        "RFC 9112 section 6.3 rule 1: 204 and 304 end with the head, whatever its fields say; h11 reads the coding first",
        lambda kind, data: re.match(rb"HTTP/1\.[0-9] (204|304)\b", data) is not None
        and re.search(rb"\r\ntransfer-encoding:", data, re.IGNORECASE) is not None,
    ),
}

# Trailers that our reader leaves out (RFC 9110 section 6.5.1); of those that are generated.
DROPPED_TRAILERS = {b"cookie", b"te", b"connection", b"upgrade", b"keep-alive", b"expect", b"trailer"}
# Read by both as framing, which is compared by its result; h11 rewrites their values.
FRAMING = {b"content-length", b"transfer-encoding"}


def read(kind, data):
    """What h11 makes of data: a dict, "incomplete", "interim", or the error as an exception."""
    if kind == "request":
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    else:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    result = {"body": b""}
    ended = False
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if ended:
                return "incomplete"
            ended = True
            connection.receive_data(b"")
        elif isinstance(event, h11.InformationalResponse):
            return "interim"
        elif isinstance(event, h11.Request):
            result["first"] = [bytes(event.method), bytes(event.target)]
            result["fields"] = list(event.headers)
            result["version"] = bytes(event.http_version)
        elif isinstance(event, h11.Response):
            result["first"] = [str(event.status_code).encode(), bytes(event.reason)]
            result["fields"] = list(event.headers)
            result["version"] = bytes(event.http_version)
        elif isinstance(event, h11.Data):
            result["body"] += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            result["trailers"] = [(n, v) for n, v in event.headers if n not in DROPPED_TRAILERS]
            result["length"] = len(data) - len(connection.trailing_data[0])
            return result
        else:
            return "incomplete"


def pairs(fields):
    return [(name.encode("latin-1").lower(), value.encode("latin-1")) for name, value in fields]


def without_framing(fields):
    return [(bytes(name), bytes(value)) for name, value in fields if bytes(name) not in FRAMING]


def difference(ours, theirs):
    """How two readings of one message differ, or None."""
    mine = {
        "first": [text.encode("latin-1") for text in ours["first"]],
        "fields": without_framing(pairs(ours["fields"])),
        "body": bytes.fromhex(ours["body"]),
        "trailers": pairs(ours["trailers"]),
        "length": ours["length"],
        "version": b"1.%d" % ours["minor"],
    }
    version = theirs["version"]
    other = dict(theirs, fields=without_framing(theirs["fields"]))
    # A higher minor version is 1.1 to us (RFC 9110 section 2.5).
    other["version"] = b"1.1" if version[:2] == b"1." and version != b"1.0" else version
    other["trailers"] = [(bytes(name), bytes(value)) for name, value in theirs["trailers"]]
    names = [name for name in mine if mine[name] != other[name]]
    return None if not names else "; ".join(f"{name}: {mine[name]!r} and {other[name]!r}" for name in names)


def judge(record):
    """The class of one record and, for a difference, its text."""
    kind, data, ours = record["kind"], bytes.fromhex(record["input"]), record["ours"]
    try:
        theirs = read(kind, data)
    except (h11.LocalProtocolError, h11.RemoteProtocolError) as error:
        if ours["verdict"] != "complete":
            return "both refuse", None
        for name, (_, applies) in JUSTIFIED.items():
            if applies(kind, data):
                return "justified: " + name, None
        return "DIFFERENT", f"h11 refuses ({error}) what we read as {ours}"
    if theirs == "interim":
        return "interim", None
    if ours["verdict"] == "failed":
        return "ours is stricter", None
    if isinstance(theirs, str):
        if ours["verdict"] == "complete":
            return "DIFFERENT", f"h11 waits for more, we read {ours}"
        return "both incomplete", None
    if ours["verdict"] == "incomplete":
        return "DIFFERENT", f"we wait for more, h11 reads {theirs}"
    text = difference(ours, theirs)
    return ("alike", None) if text is None else ("DIFFERENT", text)


def main():
    classes = collections.Counter()
    differences = []
    with open(sys.argv[1], encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            name, text = judge(record)
            classes[name] += 1
            if text is not None and len(differences) < 20:
                differences.append(f"{record['kind']} {bytes.fromhex(record['input'])!r}: {text}")
    json.dump({"classes": classes, "differences": differences}, sys.stdout)


if __name__ == "__main__":
    main()
