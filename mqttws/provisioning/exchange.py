"""The exchange with DPS: connection after connection, until a registration has ended.

Joins the MQTT client to the device's side of DPS (``dps.registration``), and gives both the clock.
Does not know the arguments of ``provision``, nor the file that keeps an assignment.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable

from ..client.client import AsyncClient, ReceivedMessage
from ..dps.registration import Registration
from ..dps.topics import RESPONSE_FILTER, Message
from ..errors import (
    ConnectFailed,
    ConnectionLost,
    MqttwsError,
)
from ..hops import Hop
from ..net.hops import REQUESTS, Step, Walk
from ..net.stream import CLOSE_TIMEOUT
from .assignment import Assignment

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before a lost connection is made anew: doubled each time in vain, half of it random."""


async def exchange(
    new_client: Callable[[], AsyncClient], registration: Registration, walk: Walk
) -> Assignment:
    """Make connection after connection until the registration has ended."""
    pause = FIRST_PAUSE
    while True:
        answered = registration.last_response
        client = new_client()
        try:
            return await _attempt(client, registration, walk)
        except (ConnectionLost, ConnectFailed) as error:
            if not any(step.hop in REQUESTS for step in walk.steps) or not error.retryable:
                raise
            if registration.last_response is not answered:
                pause = FIRST_PAUSE  # it got further: the service is there
            waiting = pause * random.uniform(0.5, 1)  # noqa: S311 - no secret comes of it
            if waiting >= walk.remaining:
                raise
        finally:
            await client.disconnect(min(CLOSE_TIMEOUT, walk.remaining))
        await asyncio.sleep(waiting)
        pause = min(2 * pause, LONGEST_PAUSE)


async def _attempt(client: AsyncClient, registration: Registration, walk: Walk) -> Assignment:
    """Go as far as one connection leads."""
    await client._connect_along(walk)
    async with walk.hop(Hop.SUBSCRIBE, RESPONSE_FILTER) as step:
        granted = await client.subscribe(RESPONSE_FILTER, qos=1)
        step.detail = f"SUBACK, QoS {granted[0]} for {RESPONSE_FILTER}"
    return await _register(client, registration, walk)


async def _register(client: AsyncClient, registration: Registration, walk: Walk) -> Assignment:
    """Ask, wait as long as the service wishes, and ask again, until the operation has ended."""
    answers = client.messages()
    hop = Hop(registration.waiting_for)
    request: Message | None
    if registration.retry_after is None:
        request = registration.resume(time.monotonic())
    else:  # the last connection was lost in a wait, which still holds
        request = await _wait_for_turn(answers, registration, walk, hop)
    while request is not None:
        hop = Hop(registration.waiting_for)
        async with walk.hop(hop, registration.operation_id) as step:
            await client.publish(request.topic, request.payload, qos=1)
            await _receive_answer(answers, registration)
            _describe(step, registration)
            if registration.error is not None:
                raise registration.error
        if registration.result is not None:
            return Assignment(**vars(registration.result))
        request = await _wait_for_turn(answers, registration, walk, hop)
    raise registration.error or walk.out_of_time(Hop(registration.waiting_for))


async def _receive_answer(
    answers: AsyncIterator[ReceivedMessage], registration: Registration
) -> None:
    """Hand messages in until one of them was the answer; the hop's time limit bounds it."""
    asked = registration.last_response
    while registration.last_response is asked:
        try:
            message = await anext(answers)
        except StopAsyncIteration:
            raise ConnectionLost("the connection was closed while an answer was awaited") from None
        registration.receive(Message(message.topic, message.payload), time.monotonic())


async def _wait_for_turn(
    answers: AsyncIterator[ReceivedMessage], registration: Registration, walk: Walk, hop: Hop
) -> Message | None:
    """Wait until the service wants to be asked again; notice at once if the connection goes."""
    wait = max(0.0, (registration.deadline or 0.0) - time.monotonic())
    if wait > walk.remaining:
        error: MqttwsError = walk.out_of_time(hop)
        error.hint = f"DPS wants to be asked again in {wait:.3g} s: give it more time"
        raise error
    try:
        async with asyncio.timeout(wait):
            while True:
                message = await anext(answers)  # nothing is expected: late answers are passed over
                registration.receive(Message(message.topic, message.payload), time.monotonic())
    except TimeoutError as error:
        if isinstance(error, MqttwsError):
            raise
    except StopAsyncIteration:
        raise ConnectionLost("the connection was closed between two polls") from None
    # The timer may ring a hair early; the registration's time has come all the same.
    return registration.tick(max(time.monotonic(), registration.deadline or 0.0))


def _describe(step: Step, registration: Registration) -> None:
    response = registration.last_response
    status = response.status if response is not None else 0
    state = f" {registration.status}" if 200 <= status < 300 else ""
    step.status = status
    step.retry_after = registration.retry_after
    step.detail = f"{status}{state}"
    if registration.retry_after is not None:
        step.detail += f", ask again in {registration.retry_after:g} s"
