"""Ends listening sockets so that no connection is lost between "accepted" and "known"."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress


async def close_listeners(servers: Iterable[asyncio.Server]) -> None:
    """Stop listening; every connection that was accepted has reached its protocol then.

    ``Server.close`` alone may fall between the two: a connection that was accepted in the same turn
    of the loop then has no server to belong to, and its socket stays open with nobody to close it
    (CPython issue 109564).
    """
    loop = asyncio.get_running_loop()
    for server in servers:
        for listener in server.sockets:
            with suppress(NotImplementedError):  # Windows has no readers to remove
                loop.remove_reader(listener.fileno())
    for _ in range(2):  # one turn makes the transport, the next tells its protocol
        await asyncio.sleep(0)
    for server in servers:
        server.close()
