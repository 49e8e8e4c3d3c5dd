"""The options of ``HubClient`` and ``AsyncHubClient``."""

from collections.abc import Mapping
from dataclasses import replace

from .client import CLIENT, SYNC_CLIENT, THREAD
from .common import A_FUNCTION, COMMON
from .option import MAX_SECONDS, Option, Table
from .provisioning import CREDENTIAL, PORT, PROVISION, TRANSPORT
from .values import (
    has,
    instance,
    is_bool,
    is_function,
    is_number,
    is_some_text,
    is_text,
    or_none,
    whole,
)

HUB_CLIENT = Table(
    hub=Option(is_some_text, "the hub's full host name, alone", "The IoT hub's host name."),
    device_id=Option(is_some_text, "a device id", "The device's name at the hub."),
    credential=Option(
        lambda value: (
            is_some_text(value)
            or has("sign")(value)
            or has("context")(value)
            or (callable(value) and not isinstance(value, type))
        ),
        "a SymmetricKey, an X509Certificate, an ExternalKey, a key in base64, or a function that"
        " returns SAS tokens",
        "The proof of the device's identity.",
        secret=True,
    ),
    module_id=Option(is_text, "a str; empty for the device itself", "The module's name.", ""),
    transport=PROVISION["transport"],
    host=Option(
        or_none(is_some_text),
        "a host name or an address, or None",
        "The name or address to connect to; without one the hub's own.",
        None,
    ),
    port=PORT,
    **COMMON.only("tls", "proxy"),
    api_version=Option(
        is_some_text, "a version, like 2021-04-12", "The hub's API version.", "2021-04-12"
    ),
    token_lifetime=Option(
        lambda value: is_number(value) and 1 <= value < MAX_SECONDS,
        f"seconds, 1 or more, less than {MAX_SECONDS:g}",
        "Seconds for which a SAS token is good.",
        3600,
    ),
    client_type=Option(is_text, "a str", "The name of the device's software.", "mqttws"),
    model_id=Option(
        is_text, "a str, like dtmi:example:thermostat;1", "The Plug and Play model.", ""
    ),
    keep_alive=replace(
        CLIENT["keep_alive"], test=whole(1, 1177), allowed="whole seconds: 1 to 1177"
    ),
    **CLIENT.only(
        "connect_timeout",
        "hop_timeout",
        "request_timeout",
        "max_outgoing",
        "max_queued",
        "reconnect",
        "refused_login_retry",
        "store",
        "manual_ack",
    ),
    will=Option(
        or_none(has("body", "topic")),
        "a TelemetryMessage, or None",
        "Telemetry that the hub takes when the connection is lost.",
        None,
    ),
    provisioning=Option(
        or_none(is_function),
        A_FUNCTION,
        "Asked where the device belongs if the hub refuses it.",
        None,
    ),
    provisioning_limit=Option(whole(1, 1000), "1 to 1000", "Times in a row that DPS is asked.", 5),
    auto_renew=Option(
        is_bool, "True or False", "Whether the issued certificate is renewed when it is due.", False
    ),
    **CLIENT.only("on_step", "on_packet", "on_state"),
)

SYNC_HUB_CLIENT = Table(HUB_CLIENT, SYNC_CLIENT.only("thread"))

# An assignment's clients: their server, and who they are there, is the assignment's.

ASSIGNED_CLIENT = Table(
    credential=Option(
        or_none(CREDENTIAL.test),
        "a SymmetricKey, an X509Certificate, or None for the one that is held",
        "The device's credential.",
        None,
        secret=True,
    ),
    transport=TRANSPORT,
    **HUB_CLIENT.only("host", "port", "api_version", "token_lifetime"),
    **CLIENT.but("client_id", "username", "password", "clean_session"),
)
SYNC_ASSIGNED_CLIENT = Table(ASSIGNED_CLIENT, THREAD)

ASSIGNED_HUB_CLIENT = Table(
    HUB_CLIENT.but("hub", "device_id", "module_id"),
    credential=replace(
        HUB_CLIENT["credential"], test=or_none(HUB_CLIENT["credential"].test), default=None
    ),
)
SYNC_ASSIGNED_HUB_CLIENT = Table(ASSIGNED_HUB_CLIENT, THREAD)

_TEXT = Option(is_text, "a str", "As DPS gave it.", "")
ASSIGNMENT = Table(
    assigned_hub=Option(is_some_text, "a host name", "The hub's host name."),
    device_id=Option(is_some_text, "a device id", "The device's name at the hub."),
    **dict.fromkeys(
        ("substatus", "registration_id", "operation_id", "created", "last_updated", "etag"), _TEXT
    ),
)
HOLDING = Table(credential=CREDENTIAL)

_SYSTEM_PROPERTY = Option(is_text, "a str", "A system property; empty for none.", "")

TELEMETRY = Table(
    properties=Option(
        or_none(lambda value: isinstance(value, Mapping)),
        "a mapping from names to text or None, or None",
        "The application's own properties.",
        None,
    ),
    content_type=_SYSTEM_PROPERTY,
    content_encoding=_SYSTEM_PROPERTY,
    message_id=_SYSTEM_PROPERTY,
    correlation_id=_SYSTEM_PROPERTY,
    user_id=_SYSTEM_PROPERTY,
    creation_time=Option(
        or_none(instance("datetime.datetime")),
        "a datetime with a time zone, or None",
        "The time at which the message was made.",
        None,
    ),
    output=_SYSTEM_PROPERTY,
    component=_SYSTEM_PROPERTY,
)
"""The properties of a telemetry message."""
