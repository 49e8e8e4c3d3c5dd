"""Ordered faults at work: what they make of a connection and of an answer.

Knows streams and links, from outside. Does not know who orders faults, nor when they strike.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..dps.effects import Answer
from ..dps.faults import Fault
from ..errors import ProtocolError
from ..net.stream import Stream
from ..net.websocket import WebSocketStream
from .link import ServerLink


class TrickleStream:
    """A stream whose bytes go out one by one, once ``seconds`` is set.

    Args:
        stream: below.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiting: deque[bytes] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.seconds: float | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, data: bytes) -> None:
        """Send bytes, or put them behind those that still wait."""
        if self.seconds is None:
            self._stream.write(data)
            return
        self._waiting += [data[at : at + 1] for at in range(len(data))]
        if self._timer is None:
            self._drip()

    def abandon(self) -> None:
        """Drop the bytes that wait: the connection has ended."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _drip(self) -> None:
        self._timer = None
        self._stream.write(self._waiting.popleft())
        if self._waiting:
            assert self.seconds is not None
            self._timer = asyncio.get_running_loop().call_later(self.seconds, self._drip)
        else:
            self.seconds = None


class Sabotage:
    """The faults of one connection.

    Args:
        link: the connection.
        send: sends an answer as it is.
    """

    def __init__(self, link: ServerLink, send: Callable[[Answer], None]) -> None:
        self._link = link
        self._send = send
        self._late: set[asyncio.TimerHandle] = set()
        self._trickle: TrickleStream | None = None

    def cuts(self, fault: Fault) -> bool:
        """End the connection in the place of an answer, where the fault says so."""
        if fault.kind not in ("drop-before", "close-websocket"):
            return False
        if fault.kind == "close-websocket" and isinstance(self._link.stream, WebSocketStream):
            self._link.stream.end(fault.code)
        else:
            self._link.stream.abort()
        return True

    def answer(self, answer: Answer, fault: Fault) -> None:
        """Send what a fault makes of an answer."""
        match fault.kind:
            case "silence":
                return
            case "bad-json":
                message = answer.message
                cut = message._replace(payload=message.payload[:-2])
                self._send(replace(answer, message=cut))
            case "drop-after":
                self._send(answer)
                self._link.end(ProtocolError("fault: dropped after the answer"))
            case "delay":
                self._put_off(answer, fault.seconds)
            case "trickle":
                self._link.pump_out()  # PUBACK is not part of it
                if self._trickle is None:
                    self._trickle = TrickleStream(self._link.stream)
                    self._link.stream = self._trickle
                self._trickle.seconds = fault.seconds
                self._send(answer)
            case _:
                self._send(answer)

    def abandon(self) -> None:
        """Drop everything that was put off: the connection has ended."""
        for timer in self._late:
            timer.cancel()
        self._late.clear()
        if self._trickle is not None:
            self._trickle.abandon()

    def _put_off(self, answer: Answer, seconds: float) -> None:
        def due() -> None:
            self._late.discard(timer)
            self._send(answer)
            self._link.pump()

        timer = self._link.loop.call_later(seconds, due)
        self._late.add(timer)
