"""The upgraded stream: MQTT's bytes in the binary frames of a WebSocket, from either end.

Knows the sans-I/O protocol objects of ``websockets``, and the rules of MQTT 3.1.1 section 6:
binary frames only, frames are no packets, the subprotocol is ``mqtt``. No extensions and no
WebSocket pings: MQTT has its own.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidMessage, NegotiationError
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ..errors import (
    ConnectionLost,
    MqttwsError,
    PacketTooLarge,
    ProtocolError,
    SubprotocolRefused,
    UpgradeRefused,
)
from ..text import one_line
from .stream import CLOSE_TIMEOUT, ByteStream, Receiver

if TYPE_CHECKING:
    from websockets.server import ServerProtocol

SUBPROTOCOL = "mqtt"
"""The name registered with IANA for MQTT 3.1.1 over WebSocket (WS-8)."""

MAX_ANSWER = 64 * 1024
"""Bytes of an answer to the upgrade in which the end of its head is looked for."""

# The library's own log would show headers; it is never let near a handler.
_silent = logging.Logger("mqttws.websocket", level=logging.CRITICAL + 1)
_silent.disabled = True


class WebSocketStream:
    """A ``Stream`` inside a WebSocket, after the upgrade.

    Args:
        stream: the bytes below.
        protocol: the sans-I/O end of the WebSocket.
        early: frames that came in the same segment as the end of the upgrade (WS-26).
    """

    def __init__(
        self,
        stream: ByteStream,
        protocol: "ClientProtocol | ServerProtocol",
        early: Sequence[Event] = (),
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._early = early
        self._receiver: Receiver | None = None
        self._ended = False
        self._finished = asyncio.get_running_loop().create_future()

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that both ends agreed on."""
        return self._protocol.subprotocol

    # Called by the byte stream below

    def data_received(self, data: bytes) -> None:
        """Take bytes of frames."""
        if self._protocol.state is State.CLOSED:
            return
        self._protocol.receive_data(data)
        self._take(self._protocol.events_received())

    def _take(self, events: Sequence[Event]) -> None:
        # What one read brought is decoded together: frames mean nothing to MQTT [MQTT-6.0.0-2].
        parts: list[bytes | bytearray | memoryview] = []
        for event in events:
            if type(event) is Frame:
                opcode = event.opcode
                if opcode is Opcode.BINARY or opcode is Opcode.CONT:
                    parts.append(event.data)
                else:
                    self._hand_over(parts)  # before what follows them ends the connection
                    self._on_frame(event)
        self._hand_over(parts)
        self._flush()
        if self._protocol.parser_exc is not None:
            self._end(
                ProtocolError(
                    f"a broken WebSocket frame: {one_line(str(self._protocol.parser_exc))}",
                    rule="MQTT-4.8.0-1",
                )
            )

    def stream_ended(self, cause: MqttwsError) -> None:
        """Learn that the bytes below have ended."""
        if self._protocol.state is not State.CLOSED:
            self._protocol.receive_eof()
        self._end(self._lost(cause))
        if not self._finished.done():
            self._finished.set_result(None)

    def writing_paused(self, paused: bool) -> None:
        """Pass on that the peer is slow, or is no longer."""
        if self._receiver is not None:
            self._receiver.writing_paused(paused)

    # Called by whoever speaks MQTT in it

    def attach(self, receiver: Receiver) -> None:
        """Push the bytes of every binary frame into ``receiver``."""
        self._receiver = receiver
        early, self._early = self._early, ()
        self._take(early)
        self._stream.attach(self)

    def write(self, data: bytes) -> None:
        """Send bytes in one binary message."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(data)
            self._flush()

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        await self._stream.drain()

    def pause_reading(self) -> None:
        """Leave the peer's bytes where they are until ``resume_reading``."""
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        """Take the peer's bytes again."""
        self._stream.resume_reading()

    async def close(self, error: MqttwsError | None = None, timeout: float = CLOSE_TIMEOUT) -> None:
        """Make the closing handshake (RFC 6455 section 7) and close, within ``timeout`` seconds."""
        self._receiver = None
        until = asyncio.get_running_loop().time() + timeout
        if self._protocol.state is State.OPEN:
            code, reason = _close_code(error)
            self._protocol.send_close(code, reason)
            self._flush()
        try:
            if isinstance(self._protocol, ClientProtocol):  # the server closes TCP first (WS-52)
                async with asyncio.timeout_at(until):
                    await asyncio.shield(self._finished)
        except TimeoutError:
            pass
        finally:
            await self._stream.close(timeout=max(0.0, until - asyncio.get_running_loop().time()))

    def end(self, code: int) -> None:
        """Begin the closing handshake with a code of the caller's choice."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code)
            self._flush()

    def abort(self) -> None:
        """Close at once; what waits is lost."""
        self._stream.abort()

    @property
    def peer(self) -> str:
        """The peer's address, for a log."""
        return self._stream.peer

    # Inside

    def _hand_over(self, parts: list[bytes | bytearray | memoryview]) -> None:
        data = b"".join(parts)
        parts.clear()
        if data and self._receiver is not None:
            self._receiver.data_received(data)

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT:  # [MQTT-6.0.0-1]
            self._protocol.fail(CloseCode.UNSUPPORTED_DATA, "MQTT needs binary frames")
            self._end(
                ProtocolError(
                    "a text frame; MQTT travels in binary frames only", rule="MQTT-6.0.0-1"
                )
            )
        elif frame.opcode is Opcode.CLOSE:
            self._end(self._lost(ConnectionLost("the peer closed the WebSocket")))

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._stream.write(data)
            else:  # the library's sign for the end of what we send
                self._stream.transport.close()

    def _end(self, cause: MqttwsError) -> None:
        if self._ended:
            return
        self._ended = True
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.stream_ended(cause)

    def _lost(self, cause: MqttwsError) -> MqttwsError:
        close: Close | None = self._protocol.close_rcvd
        if close is None or not isinstance(cause, ConnectionLost):
            return cause
        said = f", {one_line(close.reason)}" if close.reason else ""
        lost = ConnectionLost(
            f"the peer closed the WebSocket with code {close.code}{said}",
            close_code=close.code,
            close_reason=close.reason,
        )
        lost.__cause__ = cause.__cause__
        return lost


def _close_code(error: MqttwsError | None) -> tuple[CloseCode, str]:
    """Return the close code that fits why we close (WS-61); the reason holds 123 bytes at most."""
    if error is None:
        return CloseCode.NORMAL_CLOSURE, ""
    if isinstance(error, PacketTooLarge):
        return CloseCode.MESSAGE_TOO_BIG, ""
    if isinstance(error, ConnectionLost):  # it is we who leave
        return CloseCode.GOING_AWAY, ""
    return CloseCode.POLICY_VIOLATION, ""


async def open_websocket(
    stream: ByteStream, url: str, max_message_size: int, facts: dict[str, str] | None = None
) -> WebSocketStream:
    """Ask a server to turn ``stream`` into a WebSocket for MQTT (RFC 6455 section 4.1).

    Args:
        stream: the connection, with TLS on it if the URL says so.
        url: whose host and path are asked for.
        max_message_size: the largest message in bytes that is accepted.
        facts: is told what the answer says of the server: status, software, time.

    Raises:
        UpgradeRefused: the answer is not a valid switch to WebSocket.
        SubprotocolRefused: the answer does not agree to ``mqtt``.
    """
    protocol = ClientProtocol(
        parse_uri(url),
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        max_size=max_message_size,
        logger=_silent,
    )
    protocol.send_request(protocol.connect())
    for data in protocol.data_to_send():
        stream.write(data)
    response: Response | None = None
    early: list[Event] = []
    begun = bytearray()
    while response is None and protocol.handshake_exc is None:
        data = await stream.read()
        begun += data[: MAX_ANSWER - len(begun)]
        refusal = _refusal(begun)
        if refusal is not None:  # its page may come late, or never end
            _note(refusal, facts)
            raise _upgrade_error(refusal, None)
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        for event in protocol.events_received():
            if isinstance(event, Response):
                response = event
                _note(response, facts)
            else:
                early.append(event)
        if not data:
            break
    if protocol.handshake_exc is not None or response is None:
        raise _upgrade_error(response, protocol.handshake_exc)
    if protocol.subprotocol is None:  # WS-24
        raise SubprotocolRefused(
            "upgrade: the server opened a WebSocket without the subprotocol mqtt",
            hint="it is not an MQTT service, or this is not its path",
        )
    return WebSocketStream(stream, protocol, early)


def _refusal(data: bytearray) -> Response | None:
    """Return the head of an answer that is complete and no switch to WebSocket."""
    if data.startswith(b"HTTP/1.1 101 "):
        return None
    from .tunnel import parse_head

    head = parse_head(data)
    if head is None or head.status in (0, 101):
        return None
    useful = [(name, head.values(name)) for name in map(str.lower, _TELLING)]
    headers = Headers((name, ascii(values[0])[1:-1]) for name, values in useful if values)
    return Response(head.status, one_line(head.reason), headers)


_TELLING = ("Server", "Via", "Date", "Sec-WebSocket-Protocol")
"""Headers that tell who answered, and what time it is there."""


def _note(response: Response, facts: dict[str, str] | None) -> None:
    if facts is None:
        return
    facts["status"] = f"{response.status_code} {response.reason_phrase}".strip()
    for name in _TELLING:
        if values := response.headers.get_all(name):
            facts[name.lower()] = one_line(values[0][:200])


def _upgrade_error(response: Response | None, error: Exception | None) -> MqttwsError:
    if response is not None and response.status_code != 101:
        return UpgradeRefused(
            f"upgrade: HTTP {response.status_code} {one_line(response.reason_phrase)}",
            status=response.status_code,
            reason=response.reason_phrase,
            hint=_STATUS_HINTS.get(
                response.status_code, "check the path, and what answers on this host and port"
            ),
        )
    if isinstance(error, NegotiationError):
        answered = response.headers.get("Sec-WebSocket-Protocol") if response is not None else None
        if answered is not None and answered != SUBPROTOCOL:
            return SubprotocolRefused(
                f"upgrade: the server chose subprotocol {answered!r}; offered: 'mqtt'",
                answered=answered,
                hint="it is not an MQTT 3.1.1 service, or this is not its path",
            )
    if response is not None:
        reason = one_line(str(error))
        hint = "a middlebox that breaks WebSocket, or a server that does not speak RFC 6455"
    elif isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError):
        reason = "the connection was closed without an HTTP answer"
        hint = "a middlebox that does not let WebSocket through, or the wrong service"
    else:
        reason = "the answer is not HTTP"
        hint = "check the port: it may be MQTT over TLS (8883), and not WebSocket"
    return UpgradeRefused(
        f"upgrade: {reason}",
        status=response.status_code if response is not None else 0,
        reason=reason,
        hint=hint,
    )


_STATUS_HINTS = {
    400: "the path or the subprotocol is not what the server expects, or it is a reverse proxy that"
    " wants a client certificate",
    401: "the server, or a proxy before it, wants a login",
    403: "the server, or a filter before it, forbids this",
    404: "there is no WebSocket at this path",
    407: "a proxy wants a login",
    426: "the server has not seen our request to upgrade: a reverse proxy or a middlebox swallows"
    " its headers Upgrade and Connection",
    502: "a proxy in front of the server cannot reach it",
    503: "the server is overloaded or being maintained: try again later",
    504: "a proxy in front of the server got no answer from it",
}


async def accept_websocket(
    stream: ByteStream, accept_path: Callable[[str], bool], max_message_size: int
) -> WebSocketStream:
    """Answer a client's request to turn ``stream`` into a WebSocket (RFC 6455 section 4.2).

    The subprotocol's token is returned as it was offered, upper case too: Azure's C SDK offers
    ``MQTT``, and Node's refuses an answer spelled otherwise than its offer. Extensions are
    declined.

    Args:
        stream: the accepted connection.
        accept_path: told the path without its query; says whether MQTT is spoken there.
        max_message_size: the largest message in bytes that is accepted.

    Raises:
        UpgradeRefused: the request was not acceptable; it has been answered.
    """
    from websockets.server import ServerProtocol

    protocol = ServerProtocol(
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        select_subprotocol=_select_subprotocol,
        max_size=max_message_size,
        logger=_silent,
    )
    request, early = await _read_request(stream, protocol)
    if request is None:
        response = protocol.reject(HTTPStatus.BAD_REQUEST, "This is not an HTTP request.\n")
    elif not accept_path(request.path.partition("?")[0]):
        response = protocol.reject(HTTPStatus.NOT_FOUND, "There is no WebSocket at this path.\n")
    else:
        response = protocol.accept(request)
    if request is None:
        stream.write(response.serialize())
    else:
        protocol.send_response(response)
        for data in protocol.data_to_send():
            if data:
                stream.write(data)
    if response.status_code != 101:
        raise UpgradeRefused(
            f"upgrade: answered {response.status_code} {response.reason_phrase}",
            status=response.status_code,
            reason=response.reason_phrase,
        )
    return WebSocketStream(stream, protocol, early)


async def _read_request(
    stream: ByteStream, protocol: "ServerProtocol"
) -> tuple[Request | None, list[Event]]:
    """Return the request (None if it is not HTTP) and the frames that came right behind it."""
    while True:
        data = await stream.read()
        if not data:
            raise UpgradeRefused("upgrade: the client left without a request")
        protocol.receive_data(data)
        events = protocol.events_received()
        if events and isinstance(events[0], Request):
            return events[0], events[1:]
        if protocol.handshake_exc is not None:
            return None, []


def _select_subprotocol(
    protocol: "ServerProtocol", offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    for token in offered:
        if token.lower() == SUBPROTOCOL:
            return token
    raise NegotiationError("the subprotocol mqtt was not offered")  # answered 400 (WS-32)
