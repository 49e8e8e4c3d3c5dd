"""The connection cut after every byte of a session, over a socket, and peers that misbehave."""

import asyncio
import signal
import subprocess
import sys

import pytest

from mqttws import AsyncClient, Backoff, MqttwsError
from mqttws.wire import encode

from .broker import broker
from .relay import DOWN, UP, relay
from .sites import WAYS, Sites, session


class Loopback:
    """Our own server half as a place to make clients for."""

    forgets = False

    def __init__(self, port: int) -> None:
        self.port = port

    def client(self, kind: str, client_id: str, *, port: int, **options: object) -> AsyncClient:
        return AsyncClient(
            f"ws://127.0.0.1:{port}/mqtt",
            client_id=client_id,
            reconnect=Backoff(0, 0),
            **options,  # type: ignore[arg-type]
        )


async def walk_offsets(step: int) -> None:
    async with broker(websocket=True) as server, relay(server.port) as measured:
        place = Loopback(server.port)
        await session(place, measured, "m")  # type: ignore[arg-type]
        lengths = dict(measured.carried)
        for direction in (UP, DOWN):
            for offset in range(1, lengths[direction], step):
                async with relay(server.port) as way:
                    way.cut_after[direction] = offset
                    await session(place, way, f"{direction}{offset}")  # type: ignore[arg-type]


async def test_a_cut_after_every_29th_byte() -> None:
    await walk_offsets(29)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_cut_after_every_byte() -> None:
    await walk_offsets(1)


async def boundaries(place: object, port: int) -> dict[str, list[int]]:
    """Return after how many bytes each packet of a session ends, in each direction."""
    ends: dict[str, list[int]] = {UP: [0], DOWN: [0]}

    def on_packet(way: str, packet: object) -> None:
        direction = UP if way == ">" else DOWN
        ends[direction].append(ends[direction][-1] + len(encode(packet)))  # type: ignore[arg-type]

    class Watched:
        forgets = False

        def client(self, kind: str, client_id: str, **options: object) -> object:
            return place.client(kind, client_id, on_packet=on_packet, **options)  # type: ignore[attr-defined]

    async with relay(port) as way:
        await session(Watched(), way, "w")  # type: ignore[arg-type]
    return ends


async def cut_around_boundaries(site: Sites, way: str) -> None:
    async with site(way) as place:
        for direction, ends in (await boundaries(place, place.port)).items():
            around = {end + more for end in ends for more in (-1, 0, 1)}
            for offset in sorted(offset for offset in around if 0 < offset < ends[-1]):
                async with relay(place.port) as carrier:
                    carrier.cut_after[direction] = offset
                    await session(place, carrier, f"{direction}{offset}")


async def test_a_cut_around_every_packet_boundary_with_mosquitto(site: Sites) -> None:
    await cut_around_boundaries(site, "mosquitto-mqtt")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", [way for way in WAYS if way != "mosquitto-mqtt"])
async def test_a_cut_around_every_packet_boundary(site: Sites, way: str) -> None:
    await cut_around_boundaries(site, way)


SLEEPER = """
import asyncio, sys
from mqttws import AsyncClient, Backoff

async def main():
    client = AsyncClient(f"mqtt://127.0.0.1:{sys.argv[1]}", keep_alive=1, client_id="c",
                         clean_session=False, reconnect=Backoff(0.0, 0.05))
    async with client:
        await client.subscribe("t", qos=2)
        print("ready", flush=True)
        async for message in client.messages():
            print(message.payload.decode(), client.connected, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_suspended_process_recovers_when_it_goes_on(site: Sites) -> None:
    async with site("mosquitto-mqtt") as place, place.client("async", "other") as other:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SLEEPER, str(place.port), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            assert await process.stdout.readline() == b"ready\n"
            process.send_signal(signal.SIGSTOP)
            await other.publish("t", b"while it slept", qos=2)
            await asyncio.sleep(3)  # three times its keep-alive: the broker has given it up
            await other.publish("t", b"before it woke", qos=2)
            process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(5):
                assert await process.stdout.readline() == b"while it slept True\n"
                assert await process.stdout.readline() == b"before it woke True\n"
            await other.publish("t", b"after", qos=2)
            async with asyncio.timeout(5):
                assert await process.stdout.readline() == b"after True\n"
        finally:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("split", [1, 7])
async def test_bytes_that_trickle(split: int) -> None:
    async with broker(websocket=True) as server, relay(server.port) as way:
        way.split = split
        await session(Loopback(server.port), way, "c", 10)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x00" * 64,
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\x20\x02\x00\x00\x40\x02\x00\x63",
        b"\xd0\x00",
    ],
    ids=["nothing", "zeros", "http", "wrong-packet-id", "unasked-pingresp"],
)
async def test_a_peer_that_says_what_it_must_not_ends_in_an_error_in_time(said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said)
        while await reader.read(100):
            pass
        writer.close()

    tasks: set[asyncio.Task[None]] = set()

    def started(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(started, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = AsyncClient(
        f"mqtt://127.0.0.1:{port}", hop_timeout=0.5, request_timeout=1.0, reconnect=None
    )
    try:
        with pytest.raises(MqttwsError):
            async with client:
                await client.publish("t", b"x", qos=1)
    finally:
        await client.disconnect()
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
