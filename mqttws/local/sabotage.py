"""Ordered faults at work: what they make of a connection and of an answer.

Knows streams and links, from outside. Does not know who orders faults, nor when they strike.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from ..dps.effects import Answer
from ..dps.faults import Fault, Kind
from ..errors import ConnectionLost, ProtocolError
from ..net.stream import ByteStream, Stream
from ..net.websocket import WebSocketStream
from . import listening
from .link import ServerLink

SLOW_STEP = 0.02
"""Seconds between two portions of a slow connection's bytes."""

_CERTIFICATES = (
    "expired-certificate",
    "wrong-name-certificate",
    "unknown-ca-certificate",
    "missing-intermediate",
)


def spoiled(answer: Answer, fault: Fault) -> Answer:
    """Return an answer as a fault lets it be: cut short by ``bad-json``."""
    return replace(answer, body=answer.body[:-2]) if fault.kind == "bad-json" else answer


class DisturbedStream:
    """A stream whose bytes go out slowly, or that ends after some, once that is ordered.

    Args:
        stream: below.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiting: deque[bytes] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._seconds: float | None = None
        self._portion = 1
        self._for_ever = False
        self._left: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def trickle(self, seconds: float) -> None:
        """Let what is written next go out byte by byte, ``seconds`` apart."""
        self._seconds, self._portion = seconds, 1

    def slow_down(self, bytes_per_second: int) -> None:
        """Let so many bytes go out in a second from now on."""
        self._portion = max(1, round(bytes_per_second * SLOW_STEP))
        self._seconds = self._portion / bytes_per_second
        self._for_ever = True

    def cut_after(self, size: int) -> None:
        """Let ``size`` more bytes go out, then end the connection."""
        self._left = size

    def write(self, data: bytes) -> None:
        """Send bytes, or put them behind those that still wait."""
        if self._left is not None:
            self._stream.write(data[: self._left])
            self._left -= min(len(data), self._left)
            if not self._left:
                self._stream.abort()
            return
        if self._seconds is None:
            self._stream.write(data)
            return
        step = self._portion
        self._waiting += [data[at : at + step] for at in range(0, len(data), step)]
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
            assert self._seconds is not None
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._drip)
        elif not self._for_ever:
            self._seconds = None


class Sabotage:
    """The faults of one connection.

    Args:
        link: the connection.
        restart: lets the whole service go away for some seconds.
    """

    def __init__(self, link: ServerLink, restart: Callable[[float], None]) -> None:
        self._link = link
        self._restart = restart
        self._late: set[asyncio.TimerHandle] = set()
        self._disturbed: DisturbedStream | None = None

    def disturb(self, fault: Fault, go: Callable[[], None]) -> None:
        """Let a fault strike; ``go`` is what would be sent without it.

        What ``answer`` and ``bad-json`` make of an answer is in ``go`` already.
        """
        match fault.kind:
            case "drop-before":
                self._link.stream.abort()
            case "close-websocket":
                if isinstance(self._link.stream, WebSocketStream):
                    self._link.stream.end(fault.code)
                else:
                    self._link.stream.abort()
            case "restart":
                self._restart(fault.seconds)
            case "silence":
                pass
            case "drop-after":
                go()
                self._link.end(ProtocolError("fault: dropped after the answer"))
            case "delay":
                self._put_off(go, fault.seconds)
            case "trickle" | "slow" | "cut":
                self._link.pump_out()  # PUBACK is not part of it
                self._let(fault)
                go()
            case _:
                go()

    def abandon(self) -> None:
        """Drop everything that was put off: the connection has ended."""
        for timer in self._late:
            timer.cancel()
        self._late.clear()
        if self._disturbed is not None:
            self._disturbed.abandon()

    def _let(self, fault: Fault) -> None:
        if self._disturbed is None:
            self._disturbed = DisturbedStream(self._link.stream)
            self._link.stream = self._disturbed
        if fault.kind == "trickle":
            self._disturbed.trickle(fault.seconds)
        elif fault.kind == "slow":
            self._disturbed.slow_down(fault.bytes_per_second)
        else:
            self._disturbed.cut_after(fault.bytes)

    def _put_off(self, go: Callable[[], None], seconds: float) -> None:
        def due() -> None:
            self._late.discard(timer)
            go()
            self._link.pump()

        timer = self._link.loop.call_later(seconds, due)
        self._late.add(timer)


class EarlySabotage:
    """The faults of connections that have not reached MQTT.

    Args:
        strike: returns the fault that strikes a leg of a connection, by the leg and the label.
        restart: lets the whole service go away for some seconds.
    """

    def __init__(
        self,
        strike: Callable[[str, str], Awaitable[Fault | None]],
        restart: Callable[[float], None],
    ) -> None:
        self._strike = strike
        self._restart = restart

    async def handshake(self, label: str) -> Kind | None:
        """Let a fault strike before the handshake; return the bad certificate that it wants.

        Raises:
            ConnectionLost: the connection is to end.
        """
        fault = await self._strike("tls", label)
        if fault is None:
            return None
        if fault.kind in _CERTIFICATES:
            return fault.kind
        await self._wait(fault)
        return None

    async def upgrade(self, stream: ByteStream, label: str) -> None:
        """Let a fault strike before the answer to a WebSocket's opening request.

        Raises:
            ConnectionLost: the connection is to end.
        """
        fault = await self._strike("upgrade", label)
        if fault is None:
            return
        if fault.kind == "answer":
            stream.write(_http_refusal(fault))
            raise ConnectionLost(f"fault: answered {fault.status}")
        await self._wait(fault)

    async def _wait(self, fault: Fault) -> None:
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            return
        if fault.kind == "silence":
            await asyncio.sleep(listening.HANDSHAKE_TIMEOUT)
        elif fault.kind == "restart":
            self._restart(fault.seconds)
        raise ConnectionLost(f"fault: {fault.kind}")


def _http_refusal(fault: Fault) -> bytes:
    try:
        phrase = HTTPStatus(fault.status).phrase
    except ValueError:
        phrase = "Ordered fault"
    later = "" if fault.retry_after is None else f"Retry-After: {fault.retry_after}\r\n"
    head = f"HTTP/1.1 {fault.status} {phrase}\r\nContent-Length: 0\r\nConnection: close\r\n{later}"
    return f"{head}\r\n".encode()
