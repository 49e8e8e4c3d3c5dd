"""Every option of the public calls: its default, its allowed values, one sentence.

A call checks its arguments with its table, as its first act: ``CLIENT.check(locals())``. To add an
option: give it a line here, in the table of each call that takes it, and a parameter there; a test
compares names and defaults. Knows values only: an object is judged by the name of its class, or by
the members that it must have, so that this module needs none of the others.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .errors import UsageError
from .retry import LONGEST_WAIT, Backoff
from .text import SHOWN_LENGTH

Test = Callable[[Any], bool]

MAX_SECONDS: Final = 1e9
"""Seconds: no time limit and no wait may be longer, which is 31 years."""

REQUIRED: Final = object()
"""The default of an option that has none."""

PROVISIONING_HOST: Final = "global.azure-devices-provisioning.net"
"""The endpoint of every DPS instance (iot-dps-mqtt-support.md)."""

WEBSOCKET_PATH: Final = "/$iothub/websocket"
"""Path of the WebSocket at DPS and IoT Hub; the official Python, Node and C SDKs use it too."""

_NEVER_SHOWN = 40  # characters: longer text may be a key, a token or a connection string


def given(value: object) -> str:
    """Return a wrong value for an error; nothing that may be a secret is shown."""
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) < 10**18 else "an integer of more than 18 digits"
    if isinstance(value, str):
        if len(value) > _NEVER_SHOWN:
            return f"a str of {len(value)} characters"
        return ascii(value)[:SHOWN_LENGTH]
    if isinstance(value, bytes | bytearray):
        return f"{type(value).__name__} of {len(value)} bytes"
    return f"a {type(value).__name__}"


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a call.

    Attributes:
        test: whether a value is one.
        allowed: the allowed values, for errors.
        sentence: its meaning, for help texts.
        default: the value where none is given; ``REQUIRED`` where one must be.
        secret: whether a wrong value is never shown.
    """

    test: Test
    allowed: str
    sentence: str
    default: object = REQUIRED
    secret: bool = False

    def check(self, name: str, value: object) -> None:
        """Refuse a value that is not allowed.

        Raises:
            UsageError: names the option, the value unless it may be a secret, and what is allowed.
        """
        try:
            good = self.test(value)
        except Exception:  # whatever an object of the caller does when it is looked at
            good = False
        if not good:
            found = f"a {type(value).__name__}" if self.secret else given(value)
            raise UsageError(f"{name}: found {found}; allowed: {self.allowed}")


class Table(Mapping[str, Option]):
    """The options of one call, in the order of its parameters."""

    def __init__(self, *parts: Mapping[str, Option], **options: Option) -> None:
        self._options: dict[str, Option] = {}
        for part in (*parts, options):
            self._options |= part

    def __getitem__(self, name: str) -> Option:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def check(self, values: Mapping[str, object]) -> dict[str, Any]:
        """Check and return the options among ``values``; other names there are passed over.

        Raises:
            UsageError: as for ``Option.check``.
        """
        found = {name: values[name] for name in self._options if name in values}
        for name, value in found.items():
            self._options[name].check(name, value)
        return found

    def only(self, *names: str) -> "Table":
        """Return a table of some of the options."""
        return Table({name: self[name] for name in names})

    def but(self, *names: str) -> "Table":
        """Return a table without some of the options."""
        return Table({name: option for name, option in self.items() if name not in names})

    def with_defaults(self, **defaults: object) -> "Table":
        """Return a table in which some options have another default."""
        return Table(
            {
                name: replace(option, default=defaults.get(name, option.default))
                for name, option in self.items()
            }
        )


# Tests of values


def _or_none(test: Test) -> Test:
    return lambda value: value is None or test(value)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _some_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _function(value: object) -> bool:
    return callable(value)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(value: Any) -> bool:
    return _number(value) and 0 < value < MAX_SECONDS


def _seconds_or_0(value: Any) -> bool:
    return _number(value) and 0 <= value < MAX_SECONDS


def _whole(least: int, most: int) -> Test:
    def test(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return test


def _one_of(*values: str) -> Test:
    return lambda value: isinstance(value, str) and value in values


def _path(value: object) -> bool:
    return (isinstance(value, str) and bool(value)) or _has("__fspath__")(value)


def _instance(*names: str) -> Test:
    """Return a test for classes by module and name, such as ``ssl.SSLContext``."""
    return lambda value: any(
        f"{kind.__module__}.{kind.__qualname__}" in names for kind in type(value).__mro__
    )


def _has(*members: str) -> Test:
    """Return a test for an object, not a class, that has these members."""
    return lambda value: (
        not isinstance(value, type) and all(hasattr(value, name) for name in members)
    )


def _iterable(value: object) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes | Mapping)


def _proxy(value: object) -> bool:
    return _some_text(value) or _instance("mqttws.net.proxy.ProxyConfig")(value)


# The options

_SECONDS = f"seconds, more than 0, less than {MAX_SECONDS:g}"
_SECONDS_OR_0 = f"seconds, 0 or more, less than {MAX_SECONDS:g}"
_A_FUNCTION = "a function, or None"
_A_PORT = "a port: 1 to 65535, or None"
_A_LISTENING_PORT = "a port: 1 to 65535, 0 for a free one, or None"
_MANY = 2**31 - 1

_COMMON = Table(
    tls=Option(
        _or_none(_instance("mqttws.net.tls.TlsConfig", "ssl.SSLContext")),
        "a TlsConfig, an ssl.SSLContext, or None",
        "CAs to trust, and the client's certificate.",
        None,
        secret=True,
    ),
    proxy=Option(
        _or_none(_proxy),
        "a URL, a ProxyConfig, 'environment', 'none' or None",
        "The proxy: a URL, 'environment' for the variables of the environment, 'none'.",
        "environment",
        secret=True,
    ),
    timeout=Option(_seconds, _SECONDS, "Seconds for the whole call.", 120.0),
    hop_timeout=Option(_seconds, _SECONDS, "Seconds for each hop of the way.", 15.0),
    request_timeout=Option(
        _seconds, _SECONDS, "Seconds for each answer of a peer that is connected.", 30.0
    ),
    on_step=Option(
        _or_none(_function), _A_FUNCTION, "Called with each step, at its begin and its end.", None
    ),
    on_packet=Option(
        _or_none(_function),
        _A_FUNCTION,
        "Called with each packet sent and received, secrets included.",
        None,
    ),
)

CLIENT = Table(
    client_id=Option(_text, "a str; empty lets the server choose", "The client's identifier.", ""),
    username=Option(_or_none(_text), "a str, or None", "The user name.", None),
    password=Option(
        _or_none(lambda value: isinstance(value, str | bytes) or callable(value)),
        "a str, bytes, a function that returns one, or None",
        "The password, or a function that returns a fresh one for each connection.",
        None,
        secret=True,
    ),
    clean_session=Option(
        _is_bool, "True or False", "Whether the server forgets the session at each end.", True
    ),
    keep_alive=Option(
        _whole(0, 65535), "whole seconds: 0 (off) to 65535", "Seconds between signs of life.", 60
    ),
    will=Option(
        _or_none(_has("topic", "payload", "qos", "retain")),
        "a Will, or None",
        "The message that the server sends when the connection is lost.",
        None,
    ),
    **_COMMON.only("tls", "proxy"),
    connect_timeout=Option(_seconds, _SECONDS, "Seconds for each attempt to connect.", 30.0),
    **_COMMON.only("hop_timeout", "request_timeout"),
    max_packet_size=Option(
        _whole(2, 256 * 1024 * 1024 + 4),
        "bytes: 2 to 268435460",
        "Bytes of the largest packet that the server may send.",
        1024 * 1024,
    ),
    max_queued=Option(
        _whole(1, _MANY),
        f"1 to {_MANY}",
        "Messages that may wait for messages() before the socket is left unread.",
        1000,
    ),
    max_outgoing=Option(
        _whole(1, 60_000), "1 to 60000", "Publishes that may be unfinished at a time.", 10_000
    ),
    max_outgoing_bytes=Option(
        _whole(1, 2**63 - 1),
        "bytes: 1 or more",
        "Bytes that unfinished publishes may take together.",
        64 * 1024 * 1024,
    ),
    max_in_flight=Option(
        _whole(1, 60_000),
        "1 to 60000",
        "Publishes of QoS 1 and 2 that may wait for their acknowledgement at a time.",
        100,
    ),
    max_in_flight_qos2=Option(
        _whole(1, 60_000),
        "1 to 60000",
        "Publishes of QoS 2 that may wait for their acknowledgement at a time.",
        20,
    ),
    after_pubrec=Option(
        _one_of("unknown", "republish"),
        "'unknown' or 'republish'",
        "The end of a QoS 2 publish whose connection is lost after PUBREC with clean_session.",
        "unknown",
    ),
    unmatched_wait=Option(
        _or_none(_seconds_or_0),
        f"{_SECONDS_OR_0}; or None for never",
        "Seconds after CONNACK until messages are acknowledged that fit no open stream.",
        10.0,
    ),
    strict=Option(
        _is_bool,
        "True or False",
        "Whether an acknowledgement that fits nothing, or DUP with QoS 0, ends the connection.",
        False,
    ),
    headers=Option(
        _or_none(lambda value: isinstance(value, Mapping) or callable(value)),
        "a mapping of HTTP headers, a function that returns one, or None",
        "Headers for the WebSocket upgrade.",
        None,
        secret=True,
    ),
    reconnect=Option(
        _or_none(_instance("mqttws.retry.Backoff")),
        "a Backoff, or None for no reconnecting",
        "Waits between attempts to reconnect.",
        Backoff(),
    ),
    store=Option(
        _or_none(
            lambda value: (
                _has("load", "save", "close")(value)
                or _instance("mqttws.client.store.MemoryStore")(value)
            )
        ),
        "a store, such as SqliteStore(path) or MemoryStore(), or None",
        "The place of the session.",
        None,
    ),
    manual_ack=Option(
        _is_bool, "True or False", "Whether messages are acknowledged by ack() only.", False
    ),
    **_COMMON.only("on_step", "on_packet"),
    on_state=Option(_or_none(_function), _A_FUNCTION, "Called with each change of state.", None),
    on_attempt_failed=Option(
        _or_none(_function), _A_FUNCTION, "Asked after each failed attempt to reconnect.", None
    ),
)

_THREAD = Table(
    thread=Option(
        _or_none(_instance("mqttws.loop_thread.LoopThread")),
        "a LoopThread, or None for a thread of its own",
        "The background thread, to share one among several clients.",
        None,
    ),
)

SYNC_CLIENT = Table(CLIENT, _THREAD)

_CREDENTIAL = Option(
    _has("registration_id", "password"),
    "a SymmetricKey, an X509Certificate or another credential",
    "The device's registration id and the proof of its identity.",
    secret=True,
)
_ID_SCOPE = Option(
    lambda value: (
        isinstance(value, str)
        and 0 < len(value) <= _NEVER_SHOWN
        and all("!" <= c <= "~" and c != "/" for c in value)
    ),
    "an id scope as the portal shows it, like 0ne00ABCDEF",
    "The id scope of the DPS instance.",
)
_HOST = Option(
    _some_text, "a host name or an address", "The server's name or address.", PROVISIONING_HOST
)
_PORT = Option(_or_none(_whole(1, 65535)), _A_PORT, "The port; None for the transport's own.", None)
_PATH = Option(
    lambda value: isinstance(value, str) and value.startswith("/"),
    "a path that begins with /",
    "The path of the WebSocket.",
    WEBSOCKET_PATH,
)
_TRANSPORT = Option(
    _one_of("wss", "mqtts"),
    "'wss' or 'mqtts'",
    "MQTT over WebSocket on port 443, or over TLS on port 8883.",
    "wss",
)

PROVISION = Table(
    id_scope=_ID_SCOPE,
    credential=_CREDENTIAL,
    host=_HOST,
    port=_PORT,
    path=_PATH,
    transport=replace(
        _TRANSPORT,
        test=_one_of("wss", "mqtts", "auto"),
        allowed="'wss', 'mqtts' or 'auto'; DPS has no other",
    ),
    **_COMMON.only("tls", "proxy"),
    payload=Option(lambda value: True, "what JSON can hold", "Data for a webhook.", None),
    **_COMMON.only("timeout", "hop_timeout", "request_timeout"),
    api_version=Option(
        _some_text, "a version, like 2019-03-31", "The service API's version.", "2019-03-31"
    ),
    jitter=Option(
        _seconds_or_0, _SECONDS_OR_0, "Seconds; up to so many are added to each wait.", 0.0
    ),
    max_retry_after=Option(
        _seconds, _SECONDS, "Seconds: the longest wait that is kept.", LONGEST_WAIT
    ),
    pipelined=Option(
        _or_none(_one_of("subscribe", "register")),
        "'subscribe', 'register' or None",
        "The packets that are sent before CONNACK: one or two round trips less.",
        None,
    ),
    wait_for_network=Option(
        _is_bool,
        "True or False",
        "Whether a name without an address and a closed port are tried again from the start.",
        False,
    ),
    cache=Option(
        _or_none(_path), "a file's path, or None", "The file that keeps the assignment.", None
    ),
    force=Option(
        _is_bool, "True or False", "Whether to register despite a kept assignment.", False
    ),
    **_COMMON.only("on_step", "on_packet"),
)

FLEET = Table(
    id_scope=_ID_SCOPE,
    credentials=Option(_iterable, "an iterable of credentials", "The credential of each device."),
    on_result=Option(_function, "a function", "Called with each FleetResult."),
    concurrency=Option(
        _whole(1, 10_000), "1 to 10000", "Registrations that run at the same time.", 10
    ),
    payloads=Option(
        _or_none(lambda value: isinstance(value, Mapping)),
        "a mapping from registration ids to payloads, or None",
        "Data for webhooks, by registration id.",
        None,
    ),
    total_timeout=Option(
        _or_none(_seconds),
        f"{_SECONDS}; or None for no limit",
        "Seconds for all devices together.",
        None,
    ),
    **PROVISION.but("id_scope", "credential", "payload", "on_step").with_defaults(jitter=1.0),
)

DIAGNOSE = Table(
    host=replace(_HOST, default=REQUIRED),
    **PROVISION.only("port", "path"),
    transport=_TRANSPORT,
    **_COMMON.only("tls", "proxy"),
    id_scope=replace(
        _ID_SCOPE,
        test=_or_none(_ID_SCOPE.test),
        allowed=f"{_ID_SCOPE.allowed}, or None",
        default=None,
    ),
    credential=replace(
        _CREDENTIAL,
        test=_or_none(_CREDENTIAL.test),
        allowed=f"{_CREDENTIAL.allowed}, or None",
        default=None,
    ),
    **_COMMON.only("timeout", "hop_timeout", "request_timeout", "on_step").with_defaults(
        timeout=60.0
    ),
)

HUB_CLIENT = Table(
    hub=Option(_some_text, "the hub's full host name, alone", "The IoT hub's host name."),
    device_id=Option(_some_text, "a device id", "The device's name at the hub."),
    credential=Option(
        lambda value: (
            _some_text(value)
            or _has("sign")(value)
            or _has("context")(value)
            or (callable(value) and not isinstance(value, type))
        ),
        "a SymmetricKey, an X509Certificate, an ExternalKey, a key in base64, or a function that"
        " returns SAS tokens",
        "The proof of the device's identity.",
        secret=True,
    ),
    module_id=Option(_text, "a str; empty for the device itself", "The module's name.", ""),
    transport=PROVISION["transport"],
    host=Option(
        _or_none(_some_text),
        "a host name or an address, or None",
        "The name or address to connect to; None for the hub's own.",
        None,
    ),
    port=_PORT,
    **_COMMON.only("tls", "proxy"),
    api_version=Option(
        _some_text, "a version, like 2021-04-12", "The hub's API version.", "2021-04-12"
    ),
    token_lifetime=Option(
        lambda value: _number(value) and 1 <= value < MAX_SECONDS,
        f"seconds, 1 or more, less than {MAX_SECONDS:g}",
        "Seconds for which a SAS token is good.",
        3600,
    ),
    client_type=Option(_text, "a str", "The name of the device's software.", "mqttws"),
    model_id=Option(_text, "a str, like dtmi:example:thermostat;1", "The Plug and Play model.", ""),
    keep_alive=replace(
        CLIENT["keep_alive"], test=_whole(1, 1177), allowed="whole seconds: 1 to 1177"
    ),
    **CLIENT.only(
        "connect_timeout",
        "hop_timeout",
        "request_timeout",
        "max_outgoing",
        "max_queued",
        "reconnect",
        "store",
        "manual_ack",
    ),
    will=Option(
        _or_none(_has("body", "topic")),
        "a TelemetryMessage, or None",
        "Telemetry that the hub takes when the connection is lost.",
        None,
    ),
    provisioning=Option(
        _or_none(_function),
        _A_FUNCTION,
        "Asked where the device belongs if the hub refuses it.",
        None,
    ),
    provisioning_limit=Option(_whole(1, 1000), "1 to 1000", "Times in a row that DPS is asked.", 5),
    **CLIENT.only("on_step", "on_packet", "on_state"),
)

SYNC_HUB_CLIENT = Table(HUB_CLIENT, SYNC_CLIENT.only("thread"))

_LISTENING = Table(
    wss_port=Option(
        _or_none(_whole(0, 65535)), _A_LISTENING_PORT, "Port for MQTT over WebSocket.", 0
    ),
    mqtts_port=Option(_or_none(_whole(0, 65535)), _A_LISTENING_PORT, "Port for MQTT over TLS.", 0),
)

LOCAL_DPS = Table(
    host=replace(_HOST, default="127.0.0.1", sentence="The address to listen on."),
    **_LISTENING,
    state=Option(
        _or_none(_path), "a folder's path, or None", "The folder of the CA and certificate.", None
    ),
    id_scope=replace(_ID_SCOPE, default="0ne00LOCAL"),
    enrollments=Option(_iterable, "a sequence of enrollments", "Devices that may register.", ()),
    first_enrollments=Option(
        _iterable, "a sequence of enrollments", "Devices that may register with new records.", ()
    ),
    records=Option(
        lambda value: value is None or not isinstance(value, bytes | int | float | type),
        "a file's path, postgresql://..., a store, or None for memory",
        "The place of enrollments and registrations.",
        None,
    ),
    hubs=Option(
        lambda value: _iterable(value) or isinstance(value, Mapping),
        "a sequence of host names, or a mapping from them to weights",
        "The linked IoT hubs.",
        ("local-hub.azure-devices.net",),
    ),
    retry_after=Option(
        _whole(0, 10**6), "whole seconds: 0 to 1000000", "Seconds between polls.", 3
    ),
    assigning_polls=Option(
        _whole(0, 10**6), "0 to 1000000", "Polls that are answered 202 before the last.", 0
    ),
    registers_per_minute=Option(
        _or_none(_whole(1, _MANY)), "1 or more, or None", "Limit for all devices together.", None
    ),
    polls_per_10s=Option(
        _or_none(_whole(1, _MANY)), "1 or more, or None", "Limit for each device.", None
    ),
    lenient=Option(_is_bool, "True or False", "Serve what the real service refuses.", False),
    fault_seed=Option(
        _or_none(_whole(-(2**63), 2**63)), "an int, or None", "Seed of the random faults.", None
    ),
)

SYNC_LOCAL_DPS = Table(LOCAL_DPS.with_defaults(retry_after=0), _THREAD)
