"""The WebSocket opening handshake (RFC 6455 section 4), as client and as server.

Knows the sans-I/O protocol objects of ``websockets``. The subprotocol is ``mqtt``; extensions are
neither offered nor accepted.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidMessage, NegotiationError
from websockets.http11 import Request, Response
from websockets.protocol import Event
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ..errors import MqttwsError, SubprotocolRefused, UpgradeRefused
from ..hops import Cause
from ..text import one_line
from .http_head import parse_head
from .stream import ByteStream
from .websocket import WebSocketStream, silent_logger

if TYPE_CHECKING:
    from websockets.server import ServerProtocol

SUBPROTOCOL = "mqtt"
"""The name registered with IANA for MQTT 3.1.1 over WebSocket (WS-8)."""

MAX_ANSWER = 64 * 1024
"""Bytes of an answer to the upgrade in which the end of its head is looked for."""


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
        logger=silent_logger,
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
        cause, reason = Cause.PROTOCOL_BROKEN, one_line(str(error))
        hint = "a middlebox that breaks WebSocket, or a server that does not speak RFC 6455"
    elif isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError):
        cause, reason = Cause.CUT_OFF, "the connection was closed without an HTTP answer"
        hint = "a middlebox that does not let WebSocket through, or the wrong service"
    else:
        cause, reason = Cause.NOT_HTTP, "the answer is not HTTP"
        hint = "check the port: it may be MQTT over TLS (8883), and not WebSocket"
    return UpgradeRefused(
        f"upgrade: {reason}",
        cause=cause,
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
        logger=silent_logger,
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
            raise UpgradeRefused("upgrade: the client left without a request", cause=Cause.CUT_OFF)
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
