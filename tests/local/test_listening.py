"""Listening sockets: what becomes of a connection that comes while they are closed."""

import asyncio
import gc
import socket
import warnings

from mqttws.dps.certificates import Chain
from mqttws.local.listening import Listener
from mqttws.net.stream import ByteStream, Stream


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


async def test_small_answers_wait_for_no_acknowledgement() -> None:
    """The kernel would keep a second small answer back until the first is acknowledged: 40 ms."""
    taken: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
    listener = Listener()
    port = await listener.listen(
        "127.0.0.1", 0, "raw", lambda stream, *_: taken.set_result(stream), websocket=False
    )
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(5):
        stream = await taken
    assert isinstance(stream, ByteStream)
    assert stream.info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    stream.abort()
    writer.close()
    await listener.stop()
