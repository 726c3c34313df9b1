# SPDX-License-Identifier: Apache-2.0
"""Sends what no library would: `raw_client.py ADDRESS PORT` does what each line of its input says, and answers with a line.

{"bytes": text}: a connection of HTTP/1.1 with these octets (Latin-1) and their end; all that came until the end, as text.
{"fields": [[name, value]...], "body": text}: a request of HTTP/2 with these fields unchecked; its status or how it ended.
"""

import json
import socket
import sys

import h2.config
import h2.connection
import h2.events
import h2.exceptions

_UNCHECKED = h2.config.H2Configuration(
    header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False,
    validate_inbound_headers=False, normalize_inbound_headers=False)


def octets(address, text):
    told = b""
    with socket.create_connection(address, timeout=60) as client:
        try:
            client.sendall(text.encode("latin-1"))
            client.shutdown(socket.SHUT_WR)
            while data := client.recv(65536):
                told += data
        except (ConnectionResetError, BrokenPipeError):
            pass
    return told.decode("latin-1")


def fields(address, pairs, body):
    with socket.create_connection(address, timeout=60) as client:
        connection = h2.connection.H2Connection(_UNCHECKED)
        connection.initiate_connection()
        connection.send_headers(1, [tuple(pair) for pair in pairs], end_stream=not body)
        if body:
            connection.send_data(1, body.encode("latin-1"), end_stream=True)
        status = None
        try:
            client.sendall(connection.data_to_send())
            while data := client.recv(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.ResponseReceived):
                        status = int(dict(event.headers)[":status"])
                    elif isinstance(event, h2.events.StreamReset) and status is None:
                        return "reset"
                    elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                        return status
                    elif isinstance(event, h2.events.ConnectionTerminated) and status is None:
                        return "end"
                client.sendall(connection.data_to_send())
        except (ConnectionResetError, BrokenPipeError, h2.exceptions.ProtocolError):
            pass
        return status or "end"


def main(address, port):
    address = (address, int(port))
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if "bytes" in command:
            found = octets(address, command["bytes"])
        else:
            found = fields(address, command["fields"], command["body"])
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
