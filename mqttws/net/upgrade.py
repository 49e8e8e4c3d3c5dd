"""The WebSocket opening handshake (RFC 6455 section 4), as client and as server.

Knows the sans-I/O protocol objects of ``websockets``. The subprotocol is ``mqtt``; extensions are
neither offered nor accepted.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidMessage, NegotiationError
from websockets.http11 import Request, Response
from websockets.protocol import Event
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ..errors import MqttwsError, SubprotocolRefused, UpgradeRefused
from ..hops import Cause, Party
from ..text import one_line, shown
from .failures import CUT_OFF_HINT
from .frames import FrameSplitter
from .http_head import Head, parse_head
from .http_page import PAGE_PATIENCE, is_page_read, masked, opening, secrets_of, words_of_page
from .refusals import refused_upgrade
from .stream import ByteStream
from .websocket import WebSocketStream, silent_logger

if TYPE_CHECKING:
    from websockets.server import ServerProtocol

SUBPROTOCOL = "mqtt"
"""The name registered with IANA for MQTT 3.1.1 over WebSocket (WS-8)."""

MAX_ANSWER = 64 * 1024
"""Bytes of an answer to the upgrade in which the end of its head is looked for."""


async def open_websocket(
    stream: ByteStream,
    url: str,
    max_message_size: int,
    facts: dict[str, str] | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> WebSocketStream:
    """Ask a server to turn ``stream`` into a WebSocket for MQTT (RFC 6455 section 4.1).

    Args:
        stream: the connection, with TLS on it if the URL says so.
        url: whose host and path are asked for.
        max_message_size: the largest message in bytes that is accepted.
        facts: gets what the answer says of the server: status, software, time.
        headers: sent along with the request.

    Raises:
        UpgradeRefused: the answer is not a valid switch to WebSocket.
        SubprotocolRefused: the answer does not agree to ``mqtt``.
    """
    host = parse_uri(url).host
    protocol = ClientProtocol(
        parse_uri(url),
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        max_size=max_message_size,
        logger=silent_logger,
    )
    protocol.send_request(_request(protocol, headers))
    for data in protocol.data_to_send():
        stream.write(data)
    response: Response | None = None
    early: list[Event] = []
    begun = bytearray()
    secrets = secrets_of(headers, parse_uri(url).query)
    while response is None and protocol.handshake_exc is None:
        data = await stream.read()
        begun += data[: MAX_ANSWER - len(begun)]
        if not b"HTTP/".startswith(bytes(begun[:5])):
            raise _not_http(bytes(begun), secrets)
        head = parse_head(begun)
        if head is not None and head.status not in (0, 101):
            raise await _refusal(
                stream, head, begun, host, {} if facts is None else facts, secrets=secrets
            )
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
        raise _upgrade_error(response, protocol.handshake_exc, bytes(begun), secrets)
    if protocol.subprotocol is None:  # WS-24
        raise SubprotocolRefused(
            "upgrade: the server opened a WebSocket without the subprotocol mqtt",
            hint="it is not an MQTT service, or this is not its path",
        )
    # A server that has not begun a frame yet: one of MQTT speaks second.
    begins = begun.find(b"\r\n\r\n") == len(begun) - 4
    splitter = FrameSplitter(max_message_size) if begins else None
    return WebSocketStream(stream, protocol, early, splitter)


def _request(protocol: ClientProtocol, headers: Sequence[tuple[str, str]]) -> Request:
    request = protocol.connect()
    # RFC 6455 section 4.1 leaves it to clients that are no browsers. Some gateways demand it, as
    # browsers and the official SDKs send it; the server's own is the one that is always allowed.
    scheme = "https" if protocol.uri.secure else "http"
    request.headers["Origin"] = f"{scheme}://{request.headers['Host']}"
    for name, value in headers:
        request.headers.pop(name, None)
        request.headers[name] = value
    return request


async def _refusal(
    stream: ByteStream,
    head: Head,
    begun: bytearray,
    host: str,
    facts: dict[str, str],
    *,
    secrets: Sequence[str],
) -> UpgradeRefused:
    """Return the error for an answer that is no switch to WebSocket, with its page's title."""
    until = asyncio.get_running_loop().time() + PAGE_PATIENCE
    while not is_page_read(head, begun):  # it may come late, or never end
        data = await stream.read_until(until)
        if not data:
            break
        begun += data[:MAX_ANSWER]
    reason = masked(head.reason, secrets)
    facts["status"] = f"{head.status} {one_line(reason)}".strip()
    for name in _TELLING:
        if values := head.values(name):
            facts[name] = one_line(masked(values[0], secrets)[:200])
    if page := words_of_page(head, begun, secrets):
        facts["page"] = page
    return refused_upgrade(head.status, reason, facts, host)


_TELLING = ("server", "via", "date", "location", "retry-after", "sec-websocket-protocol")
"""Headers that tell who answered, and what time it is there."""


def _note(response: Response, facts: dict[str, str] | None) -> None:
    if facts is None:
        return
    facts["status"] = f"{response.status_code} {response.reason_phrase}".strip()
    for name in _TELLING:
        if values := response.headers.get_all(name):
            facts[name] = one_line(values[0][:200])


def _upgrade_error(
    response: Response | None, error: Exception | None, begun: bytes, secrets: Sequence[str]
) -> MqttwsError:
    if isinstance(error, NegotiationError):
        answered = response.headers.get("Sec-WebSocket-Protocol") if response is not None else None
        if answered is not None and answered != SUBPROTOCOL:
            return SubprotocolRefused(
                f"upgrade: the server chose subprotocol {answered!r}; offered: 'mqtt'",
                answered=answered,
                hint="it is not an MQTT 3.1.1 service, or this is not its path",
            )
    if response is not None:
        return UpgradeRefused(
            f"upgrade: {one_line(str(error))}",
            status=response.status_code,
            reason=one_line(str(error)),
            cause=Cause.UPGRADE_SWALLOWED,
            party=Party.NETWORK,
            hint="a middlebox that breaks WebSocket, or a server that does not speak RFC 6455",
        )
    if isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError):
        came = f" after {len(begun)} bytes" if begun else ""
        reason = f"the connection was closed{came} without an HTTP answer"
        return UpgradeRefused(
            f"upgrade: {reason}", reason=reason, cause=Cause.CUT_OFF, hint=CUT_OFF_HINT
        )
    return _not_http(begun, secrets)


def _not_http(begun: bytes, secrets: Sequence[str]) -> UpgradeRefused:
    reason = f"the answer is not HTTP: it begins with {opening(begun, secrets)}"
    return UpgradeRefused(
        f"upgrade: {reason}",
        reason=reason,
        cause=Cause.NOT_HTTP,
        party=Party.SERVER,
        hint="another service answers on this port (MQTT over TLS, HTTP/2, or something else):"
        " check the port (443 for WebSocket, 8883 for MQTT over TLS)",
    )


async def accept_websocket(
    stream: ByteStream, accept_path: Callable[[str], bool], max_message_size: int
) -> WebSocketStream:
    """Answer a client's request to turn ``stream`` into a WebSocket (RFC 6455 section 4.2).

    The subprotocol's token is returned as it was offered, upper case too: Azure's C SDK offers
    ``MQTT``, and Node's refuses an answer spelled otherwise than its offer. Extensions are
    declined.

    Args:
        stream: the accepted connection.
        accept_path: called with the path without its query; returns whether MQTT is served there.
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
    if response.status_code != 101:
        # Written as it is: what came behind the request may have ended ``protocol`` already.
        stream.write(response.serialize())
        why = protocol.handshake_exc
        told = f": {one_line(str(why))[:200]}" if isinstance(why, NegotiationError) else ""
        raise UpgradeRefused(
            f"upgrade: answered {response.status_code} {response.reason_phrase}{told}",
            status=response.status_code,
            reason=response.reason_phrase,
        )
    protocol.send_response(response)
    for data in protocol.data_to_send():
        if data:
            stream.write(data)
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
    named = f"not {shown(', '.join(offered))}" if offered else "and none was offered"
    amqp = any(token.lower().startswith("amqp") for token in offered)
    advice = "; AMQP is not served here: use MQTT, or HTTPS" if amqp else ""
    # Answered 400 (WS-32), with these words.
    raise NegotiationError(f"the subprotocol is mqtt, {named}{advice}")
