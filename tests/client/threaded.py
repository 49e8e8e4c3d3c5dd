"""``Client`` under the names of ``AsyncClient``, so that one suite proves both.

Each call of the sync client blocks a thread of its own, as a program's would.
"""

import asyncio
from typing import Any

import pytest

from mqttws import Client, ReceivedMessage
from mqttws.client.client import AsyncClient
from mqttws.client.sync_results import SyncMessageStream, SyncReceipt


async def in_thread(call: Any, *arguments: Any, **options: Any) -> Any:
    """Run a blocking call in a thread; a cancelled wait leaves it to its end."""
    return await asyncio.to_thread(call, *arguments, **options)


class Receipt:
    def __init__(self, receipt: SyncReceipt) -> None:
        self._receipt = receipt

    def __await__(self) -> Any:
        return in_thread(self._receipt.wait).__await__()

    async def wait(self, timeout: float | None = None) -> None:
        await in_thread(self._receipt.wait, timeout)

    @property
    def done(self) -> bool:
        return self._receipt.done

    @property
    def downgraded(self) -> bool:
        return self._receipt.downgraded

    def cancel(self) -> bool:
        return self._receipt.cancel()


class Stream:
    def __init__(self, stream: SyncMessageStream) -> None:
        self._stream = stream

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> ReceivedMessage:
        def take() -> ReceivedMessage | None:
            try:
                return next(self._stream)
            except StopIteration:
                return None

        message = await in_thread(take)
        if message is None:
            raise StopAsyncIteration
        return message

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ThreadedClient:
    def __init__(self, url: str, **options: Any) -> None:
        self.client = Client(url, **options)

    def __repr__(self) -> str:
        return repr(self.client)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    async def connect(self) -> None:
        await in_thread(self.client.connect)

    async def publish(self, *arguments: Any, **options: Any) -> None:
        await in_thread(self.client.publish, *arguments, **options)

    def publish_nowait(self, *arguments: Any, **options: Any) -> Receipt:
        return Receipt(self.client.publish_nowait(*arguments, **options))

    async def flush(self) -> None:
        await in_thread(self.client.flush)

    async def reconnect(self, *arguments: Any) -> None:
        await in_thread(self.client.reconnect, *arguments)

    async def subscribe(self, *arguments: Any, **options: Any) -> list[int]:
        return await in_thread(self.client.subscribe, *arguments, **options)

    async def unsubscribe(self, *arguments: Any) -> None:
        await in_thread(self.client.unsubscribe, *arguments)

    def messages(self, *arguments: Any) -> Stream:
        return Stream(self.client.messages(*arguments))

    async def disconnect(self, *arguments: Any) -> None:
        await in_thread(self.client.disconnect, *arguments)

    async def __aenter__(self) -> "ThreadedClient":
        await self.connect()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.disconnect()


BOTH = {"async": AsyncClient, "sync": ThreadedClient}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of a module that imports this with both clients, but for ``only_async``."""
    only_async = metafunc.definition.get_closest_marker("only_async")
    metafunc.parametrize("kind", ["async"] if only_async else list(BOTH), indirect=True)


@pytest.fixture(autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the module's ``AsyncClient`` mean the one or the other."""
    monkeypatch.setattr(request.module, "AsyncClient", BOTH[request.param])
    return str(request.param)
