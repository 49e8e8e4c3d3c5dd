"""Requests that are sent in batches: none is left behind."""

import asyncio

import pytest

from mqttws.local.stores.batching import Batcher


@pytest.mark.parametrize("lanes", [1, 2])
async def test_a_caller_that_asks_again_at_once_is_answered(lanes: int) -> None:
    """In the very turn of the loop in which the task that answered it ends."""

    async def run(batch: list[int]) -> list[int]:
        await asyncio.sleep(0)
        return [-number for number in batch]

    batcher = Batcher(run, lanes=lanes, limit=3)

    async def work(begin: int) -> None:
        for number in range(begin, begin + 50):
            assert await batcher.ask(number) == -number

    async with asyncio.timeout(5):
        await asyncio.gather(*(work(100 * worker) for worker in range(2 * lanes)))
        await batcher.close()


async def test_each_caller_of_a_batch_gets_what_it_raised() -> None:
    async def run(batch: list[int]) -> list[int]:
        raise ValueError(str(sorted(batch)))

    batcher = Batcher(run, lanes=1, limit=10)
    found = await asyncio.gather(*map(batcher.ask, range(3)), return_exceptions=True)
    assert [type(error) for error in found] == [ValueError] * 3
