"""Direct methods served: each call is handed to its handler once and answered in time.

Knows handlers, plain and async, and their time limits. Which call is new is ``OpenCalls``' matter.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..client.client import AsyncClient
from ..client.message import ReceivedMessage
from ..dps.json_text import build_json, parse_json
from ..errors import MqttwsError, QueueFull, UsageError
from ..hub.device.methods import (
    BAD_REQUEST,
    FAILED,
    MAX_PAYLOAD,
    NOT_FOUND,
    NOT_IN_TIME,
    TOO_MANY,
    Call,
    Entry,
    MethodRequest,
    MethodResponse,
    MethodTable,
    OpenCalls,
)
from ..hub.topics import method_response_topic, parse_method_topic
from .upkeep import Upkeep, logger

MAX_CALLS = 64
"""Calls that may be open at a time; the next one is answered 429."""

STOP_TIMEOUT = 1.0
"""Seconds that open calls, and then cancelled handlers, get to end when the client leaves."""

MAX_THREADS = 8
"""Plain functions that run at a time."""

Handler = Callable[[MethodRequest], Any]
"""A function, plain or async, that takes a ``MethodRequest`` and returns a ``MethodResponse``, or a
JSON value for status 200. An async one runs on the event loop, a plain one in a thread."""


class MethodServer:
    """Serves a device's direct methods.

    Args:
        upkeep: calls it with connections, and runs the handlers until the client ends.

    Attributes:
        table: the handlers.
    """

    def __init__(self, upkeep: Upkeep) -> None:
        self.table: MethodTable[Handler] = MethodTable()
        self._upkeep = upkeep
        self._calls = OpenCalls(MAX_CALLS)
        self._threads: ThreadPoolExecutor | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._running: set[asyncio.Future[Any]] = set()

    def on_message(self, message: ReceivedMessage) -> None:
        """Begin a call."""
        found = parse_method_topic(message.topic)
        if found is None:
            return
        self._calls.on_connection(self._upkeep.number)
        full = self._calls.full
        call = self._calls.begin(MethodRequest(found.name, None, found.request_id))
        if call is None:
            return
        serving = self._upkeep.start(self._serve(call, message.payload, full))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def stop(self, timeout: float) -> None:
        """Let open calls be answered, then cancel the handlers that still run.

        A plain function that does not end keeps its thread.

        Args:
            timeout: seconds in all; open calls are waited for during the first of them at most.
        """
        if self._serving and timeout > 0:
            await asyncio.wait(self._serving, timeout=min(timeout, STOP_TIMEOUT))
        for work in self._running:
            work.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=STOP_TIMEOUT)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, call: Call, payload: bytes, full: bool) -> None:
        name = call.request.name
        entry = self.table.find(name)
        if full:
            answer = MethodResponse(TOO_MANY, f"{MAX_CALLS} calls are open; try again later")
        elif entry is None:
            answer = MethodResponse(NOT_FOUND, "this device has no such method")
        else:
            try:
                value = parse_json(payload) if payload else None
            except ValueError as error:
                answer = MethodResponse(BAD_REQUEST, f"the payload is not JSON: {error}")
            else:
                request = MethodRequest(name, value, call.request.request_id)
                answer = await self._run(request, entry)
        body = _body(name, answer)
        if self._calls.finish(call):
            status = FAILED if body is None else answer.status
            await self._answer(call.request, status, body or b"null")

    async def _run(self, request: MethodRequest, entry: Entry[Handler]) -> MethodResponse:
        """Return a handler's answer, or the one that is due because it failed or was too slow."""
        work = asyncio.ensure_future(self._invoke(entry.handler, request))
        self._running.add(work)
        work.add_done_callback(self._on_ended)
        try:
            # A handler that takes its cancellation badly does not hold up the answer.
            done, _ = await asyncio.wait({work}, timeout=entry.time_limit)
        finally:
            work.cancel()
        if not done:
            logger.warning("method %r: no answer within %g s", request.name, entry.time_limit)
            return MethodResponse(NOT_IN_TIME, "the method did not end in time")
        try:
            result = work.result()
        except Exception:
            logger.exception("method %r failed", request.name)
            return MethodResponse(FAILED, "the method failed")
        except asyncio.CancelledError:
            return MethodResponse(FAILED, "the method was cancelled")
        if isinstance(result, MethodResponse):
            return result
        try:
            return MethodResponse(payload=result)
        except UsageError:
            logger.error("method %r: its answer has no JSON form", request.name)
            return MethodResponse(FAILED)

    def _on_ended(self, work: "asyncio.Future[Any]") -> None:
        self._running.discard(work)
        if not work.cancelled():
            work.exception()  # it was logged, or came too late

    async def _invoke(self, handler: Handler, request: MethodRequest) -> Any:
        if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__
        ):
            return await handler(request)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MAX_THREADS, "mqttws-method")
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._threads, handler, request)
        return await result if isinstance(result, Awaitable) else result

    async def _answer(self, request: MethodRequest, status: int, body: bytes) -> None:
        topic = method_response_topic(status, request.request_id)
        client: AsyncClient = self._upkeep.client
        try:
            try:
                client.publish_nowait(topic, body, qos=1)
            except QueueFull:
                await client.publish(topic, body, qos=1)
        except MqttwsError as error:
            logger.warning("the answer of method %r was not sent: %s", request.name, error)


def _body(name: str, answer: MethodResponse) -> bytes | None:
    """Return an answer's JSON; None, and a line in the log, if it has none that can be sent."""
    try:
        body = build_json(answer.payload)
    except ValueError as error:
        logger.error("method %r: its answer has no JSON form: %s", name, error)
        return None
    if len(body) > MAX_PAYLOAD:
        logger.error(
            "method %r: its answer has %d bytes; allowed: %d", name, len(body), MAX_PAYLOAD
        )
        return None
    return body
