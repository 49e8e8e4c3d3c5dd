"""One client under load, in a process of its own: ``python -m benchmarks.client_load NAME ...``.

Prints, as JSON, the CPU microseconds of this process for each message: published with QoS 0 in one
loop, published with QoS 1 with 100 in flight, and received from a blast. Every message is accounted
for before a figure counts.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.client_candidates import IN_FLIGHT, KINDS, PAYLOAD, Asyncio, Threaded, Websockets
from benchmarks.client_candidates import in_flight as publish_in_flight
from mqttws.wire import Connect, Decoder, Disconnect, Publish

DEADLINE = 120.0
"""Seconds for everything; a client that loses a message must not hold up the others."""

BLAST = "blast"
"""The topic of the messages that are received."""


def blast(port: int, count: int) -> None:
    """Be another client, over TCP: publish ``count`` messages at once."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(Connect("blast").encode())
        decoder = Decoder()
        while True:
            decoder.feed(connection.recv(100))
            if decoder.next_packet() is not None:
                break
        connection.sendall(Publish(BLAST, PAYLOAD).encode() * count + Disconnect().encode())
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(100):
            pass


@contextmanager
def blasting(port: int, count: int) -> Iterator[None]:
    """Have another process blast."""
    command = [sys.executable, "-m", "benchmarks.client_load", "--blast", str(port), str(count)]
    with subprocess.Popen(command) as process:
        yield
        assert process.wait(DEADLINE) == 0


class Clock:
    """Counts this process's CPU time, all of its threads."""

    def __init__(self, count: int) -> None:
        self.figures: dict[str, float] = {}
        self._count = count
        self._since = 0.0

    def start(self) -> None:
        self._since = time.process_time()

    def stop(self, name: str) -> None:
        spent = time.process_time() - self._since
        self.figures[name] = round(spent / self._count * 1e6, 3)


async def load(client: Asyncio, ws: int, tcp: int, count: int) -> dict[str, float]:
    """Put an asyncio client under load."""
    clock = Clock(count)
    await client.open(ws, BLAST)
    publish = client.publish_0
    clock.start()
    for _ in range(count):
        await publish()
    await client.publish_1()  # its answer comes when the server has read all before it
    clock.stop("publish QoS 0")
    if isinstance(client, Websockets):
        clock.start()
        for _ in range(count // IN_FLIGHT):
            await client.batch()
        await client.publish_1()
        clock.stop("batches of 100")
    else:
        clock.start()
        await publish_in_flight(client.publish_1, count)
        clock.stop("publish QoS 1")
    receive = client.receive
    with blasting(tcp, count):
        clock.start()
        for _ in range(count):
            await receive()
        clock.stop("receive")
    await client.close()
    return clock.figures


def load_threaded(client: Threaded, ws: int, tcp: int, count: int) -> dict[str, float]:
    """Put a client with threads under load."""
    clock = Clock(count)
    client.open(ws, BLAST)
    clock.start()
    client.publish_0(count)
    client.publish_1(1)
    clock.stop("publish QoS 0")
    clock.start()
    client.publish_1(count)
    clock.stop("publish QoS 1")
    client.left = count  # type: ignore[attr-defined]
    with blasting(tcp, count):
        clock.start()
        client.receive(count)
        clock.stop("receive")
    client.close()
    return clock.figures


def main() -> None:
    """Print one client's figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--blast", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--name", choices=KINDS)
    options.add_argument("port", type=int, nargs="+", help="WebSocket and TCP port of the server")
    options.add_argument("count", type=int, help="messages")
    given = options.parse_args()
    if given.blast:
        blast(given.port[0], given.count)
        return
    ws, tcp = given.port
    client = KINDS[given.name][1]()
    if isinstance(client, Asyncio):

        async def run() -> dict[str, float]:
            async with asyncio.timeout(DEADLINE):
                return await load(client, ws, tcp, given.count)

        print(json.dumps(asyncio.run(run())))
    else:
        print(json.dumps(load_threaded(client, ws, tcp, given.count)))


if __name__ == "__main__":
    main()
