"""Listening sockets: what becomes of a connection that comes while they are closed."""

import asyncio
import gc
import socket
import warnings

from mqttws.dps.certificates import Chain
from mqttws.local.listening import Listener
from mqttws.net.stream import Stream


def refuse(stream: Stream, label: str, chain: Chain) -> None:
    raise AssertionError(label)


async def test_a_connection_accepted_in_the_turn_of_the_stop_is_closed() -> None:
    loop = asyncio.get_running_loop()
    listener = Listener()
    port = await listener.listen("127.0.0.1", 0, "raw", refuse, websocket=True)
    await asyncio.sleep(0)  # the port's task waits for a connection now
    stopping = asyncio.Event()
    reading, writing = socket.socketpair()
    with reading, writing, socket.socket() as client:
        loop.add_reader(reading, stopping.set)
        # Both come in one turn of the loop, and the stop is before the accepting task in the next.
        writing.send(b"!")
        client.connect(("127.0.0.1", port))
        client.settimeout(0)
        await stopping.wait()
        loop.remove_reader(reading)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            await listener.stop()
            gc.collect()
        assert [str(one.message) for one in found] == []
        async with asyncio.timeout(5):
            assert await loop.sock_recv(client, 1) == b""
