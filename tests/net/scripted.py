"""A server of a few lines that says what a test wants it to, and remembers what it heard."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from tests.listeners import close_listeners

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """What a scripted server was seen to do."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.heads: list[bytes] = []

    async def read_head(self, reader: asyncio.StreamReader) -> bytes:
        """Return an HTTP head, which is remembered."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Pass bytes on to a port of this machine, both ways, until either side ends."""
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))


@asynccontextmanager
async def scripted(
    script: Callable[[Scripted], Conversation],
) -> AsyncIterator[Scripted]:
    """Run a server whose connections each follow ``script``."""
    seen = Scripted()
    conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await script(seen)(reader, writer)
        finally:
            writer.close()

    def started(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        conversations[task] = writer
        task.add_done_callback(conversations.pop)

    server = await asyncio.start_server(started, "127.0.0.1", 0)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        await close_listeners([server])
        begun = dict(conversations)
        for task, writer in begun.items():
            task.cancel()
            writer.close()  # a task that has not begun yet would not do it
        await asyncio.gather(*begun, return_exceptions=True)
