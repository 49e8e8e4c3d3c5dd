"""The ``$dps`` topics, built and parsed (azure-docs ``articles/iot-dps/iot-dps-mqtt-support.md``).

Knows the text of the topics. Does not know what the requests mean, nor who may send them.
Properties are split at ``&`` and at the first ``=`` by hand: form decoding would turn ``+`` into a
blank.
"""

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from ..utf8 import percent_encoded

RESPONSE_FILTER = "$dps/registrations/res/#"
"""The only topic filter that DPS serves."""

_REGISTER = "$dps/registrations/PUT/iotdps-register/?"
_POLL = "$dps/registrations/GET/iotdps-get-operationstatus/?"
RESPONSE_PREFIX = "$dps/registrations/res/"

_MAX_REQUEST_TOPIC = 65_000  # bytes; so that the answer's topic, a little longer, still fits 65535


class Message(NamedTuple):
    """A message of MQTT, as far as this package sees it."""

    topic: str
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Register:
    """A device asks to be registered.

    Attributes:
        request_id: ``$rid`` exactly as received, not decoded, so that it can be echoed; empty
            where the topic had none.
    """

    request_id: str


@dataclass(frozen=True, slots=True)
class Poll:
    """A device asks how its operation stands.

    Attributes:
        request_id: ``$rid`` exactly as received, not decoded; empty where the topic had none.
        operation_id: which operation, decoded; empty where the topic named none.
    """

    request_id: str
    operation_id: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """A device asks for its registration; over HTTPS alone, no topic asks for it."""

    request_id: str = ""


Request = Register | Poll | Lookup
"""What a device may ask for."""


@dataclass(frozen=True, slots=True)
class Response:
    """The service answers a request.

    Attributes:
        status: as in HTTP: 200, 202, 401, ...
        request_id: the request's ``$rid``, decoded; None where the topic had none.
        retry_after: seconds to wait before the next request; None where the topic had none, or
            none that can be read.
    """

    status: int
    request_id: str | None
    retry_after: float | None


def register_topic(request_id: str) -> str:
    """Return the topic of a registration request."""
    return f"{_REGISTER}{_rid(request_id)}"


def poll_topic(request_id: str, operation_id: str) -> str:
    """Return the topic of a question about an operation."""
    operation = percent_encoded(operation_id, "operation id")
    return f"{_POLL}{_rid(request_id)}&operationId={operation}"


def _rid(request_id: str) -> str:
    return f"$rid={percent_encoded(request_id, 'request id')}"


def response_topic(status: int, request_id: str, retry_after: int | None = None) -> str:
    """Return the topic of an answer.

    ``$rid`` stands first and nothing after it holds a ``$``: the Python SDK splits there, and the
    C# SDK looks for ``/?$rid=``.

    Args:
        status: as in HTTP.
        request_id: as it stood in the request's topic; it is echoed, not quoted again.
        retry_after: whole seconds; the Python SDK fails on fractions.
    """
    topic = f"{RESPONSE_PREFIX}{status}/?$rid={request_id}"
    return topic if retry_after is None else f"{topic}&retry-after={retry_after}"


def parse_request_topic(topic: str) -> Register | Poll | None:
    """Return what a device asks for; None for a topic that is not documented.

    A request without ``$rid`` is served too, as the real service does.
    """
    if len(topic.encode(errors="replace")) > _MAX_REQUEST_TOPIC:
        return None
    if topic.startswith(_REGISTER):
        return Register(_properties(topic[len(_REGISTER) :]).get("$rid", ""))
    if topic.startswith(_POLL):
        properties = _properties(topic[len(_POLL) :])
        return Poll(properties.get("$rid", ""), unquote(properties.get("operationId", "")))
    return None


def parse_response_topic(topic: str) -> Response | None:
    """Return what an answer's topic says; None for a topic that is no answer's.

    The properties may come in any order. A ``retry-after`` that is not a whole number of seconds
    is as good as none.
    """
    if not topic.startswith(RESPONSE_PREFIX):
        return None
    status, _, rest = topic[len(RESPONSE_PREFIX) :].partition("/")
    if not (len(status) == 3 and status.isascii() and status.isdigit()):
        return None
    properties = _properties(rest.removeprefix("?"))
    request_id = properties.get("$rid")
    return Response(
        int(status),
        None if request_id is None else unquote(request_id),
        _seconds(unquote(properties.get("retry-after", ""))),
    )


def _properties(text: str) -> dict[str, str]:
    """Return the properties by name, values as they stand; of two alike the first counts."""
    properties: dict[str, str] = {}
    for pair in text.split("&"):
        name, separator, value = pair.partition("=")
        if separator:
            properties.setdefault(name, value)
    return properties


def _seconds(text: str) -> float | None:
    """Return a whole number of seconds; None for any other text, and for more than 30 years."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
