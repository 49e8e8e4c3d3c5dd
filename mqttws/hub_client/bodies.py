"""A message's body, as an application gives it, made into a telemetry message."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..dps.json_text import build_json
from ..errors import UsageError
from ..hub.device.telemetry import TelemetryMessage
from ..utf8 import utf8

Body = bytes | bytearray | memoryview | str | dict[str, Any] | list[Any] | TelemetryMessage
"""Bytes, text (sent as UTF-8), a dict or list (sent as JSON), or a whole message."""


def message_of(
    body: Body, properties: Mapping[str, str | None] | None = None, **attributes: Any
) -> TelemetryMessage:
    """Return the message that a body and its properties make.

    JSON gets its content type and encoding, where none is given: the hub routes on the body then.

    Raises:
        UsageError: the body cannot be sent, or a whole message is given with attributes.
    """
    given = {name: value for name, value in attributes.items() if value}
    if isinstance(body, TelemetryMessage):
        if given or properties:
            raise UsageError(
                "telemetry: a TelemetryMessage brings its properties and attributes along",
                hint="set them in the TelemetryMessage",
            )
        return replace(body, body=_bytes(body.body))
    if isinstance(body, dict | list):
        try:
            raw = build_json(body)
        except ValueError as error:
            raise UsageError(f"telemetry: body: {error}") from None
        given = {"content_type": "application/json", "content_encoding": "utf-8"} | given
    else:
        raw = _bytes(body)
    return TelemetryMessage(raw, properties or {}, **given)


def _bytes(body: object) -> bytes:
    if type(body) is bytes:
        return body
    if isinstance(body, str):
        return utf8(body, "telemetry: body")
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise UsageError(
        f"telemetry: body: found {type(body).__name__}; allowed: bytes, str, dict, list or"
        " TelemetryMessage"
    )
