"""The options of ``provision``, ``provision_fleet`` and ``diagnose``."""

from collections.abc import Mapping
from dataclasses import replace

from ..retry import LONGEST_WAIT
from .common import A_PORT, COMMON, SECONDS, SECONDS_OR_0
from .option import NEVER_SHOWN, PROVISIONING_HOST, REQUIRED, WEBSOCKET_PATH, Option, Table
from .values import (
    has,
    instance,
    is_bool,
    is_function,
    is_iterable,
    is_path,
    is_seconds,
    is_seconds_or_0,
    is_some_text,
    one_of,
    or_none,
    whole,
)

CREDENTIAL = Option(
    has("registration_id", "password"),
    "a SymmetricKey, an X509Certificate or another credential",
    "The device's registration id and the proof of its identity.",
    secret=True,
)
ID_SCOPE = Option(
    lambda value: (
        isinstance(value, str)
        and 0 < len(value) <= NEVER_SHOWN
        and all("!" <= c <= "~" and c != "/" for c in value)
    ),
    "an id scope as the portal shows it, like 0ne00ABCDEF",
    "The id scope of the DPS instance.",
)
HOST = Option(
    is_some_text, "a host name or an address", "The server's name or address.", PROVISIONING_HOST
)
PORT = Option(
    or_none(whole(1, 65535)),
    A_PORT,
    "The port; without one the transport's own, 443 or 8883.",
    None,
)
PATH = Option(
    lambda value: isinstance(value, str) and value.startswith("/"),
    "a path that begins with /",
    "The path of the WebSocket.",
    WEBSOCKET_PATH,
)
TRANSPORT = Option(
    one_of("wss", "mqtts"),
    "'wss' or 'mqtts'",
    "MQTT over WebSocket on port 443, or over TLS on port 8883.",
    "wss",
)

PROVISION = Table(
    id_scope=ID_SCOPE,
    credential=CREDENTIAL,
    host=HOST,
    port=PORT,
    path=PATH,
    transport=replace(
        TRANSPORT,
        test=one_of("wss", "mqtts", "auto"),
        allowed="'wss', 'mqtts' or 'auto'; DPS has no other",
    ),
    **COMMON.only("tls", "proxy"),
    payload=Option(lambda value: True, "what JSON can hold", "Data for a webhook.", None),
    **COMMON.only("timeout", "hop_timeout", "request_timeout"),
    api_version=Option(
        is_some_text, "a version, like 2019-03-31", "The service API's version.", "2019-03-31"
    ),
    jitter=Option(
        is_seconds_or_0, SECONDS_OR_0, "Seconds; up to so many are added to each wait.", 0.0
    ),
    max_retry_after=Option(
        lambda value: is_seconds(value) and value <= LONGEST_WAIT,
        f"seconds, more than 0, at most {LONGEST_WAIT:g}",
        "Seconds: the longest wait that is kept.",
        LONGEST_WAIT,
    ),
    pipelined=Option(
        or_none(one_of("subscribe", "register")),
        "'subscribe', 'register' or None",
        "The packets that are sent before CONNACK: one or two round trips less.",
        None,
    ),
    wait_for_network=Option(
        is_bool,
        "True or False",
        "Whether a name without an address and a closed port are tried again from the start.",
        False,
    ),
    cache=Option(
        or_none(is_path), "a file's path, or None", "The file that keeps the assignment.", None
    ),
    issue=Option(
        or_none(instance("mqttws.provisioning.issued.CertificateStore")),
        "a CertificateStore, or None",
        "Where to keep a certificate for the hub that DPS issues.",
        None,
    ),
    force=Option(is_bool, "True or False", "Whether to register despite a kept assignment.", False),
    **COMMON.only("on_step", "on_packet"),
)

FLEET = Table(
    id_scope=ID_SCOPE,
    credentials=Option(is_iterable, "an iterable of credentials", "The credential of each device."),
    on_result=Option(is_function, "a function", "Called with each FleetResult."),
    concurrency=Option(
        whole(1, 10_000), "1 to 10000", "Registrations that run at the same time.", 10
    ),
    payloads=Option(
        or_none(lambda value: isinstance(value, Mapping)),
        "a mapping from registration ids to payloads, or None",
        "Data for webhooks, by registration id.",
        None,
    ),
    total_timeout=Option(
        or_none(is_seconds),
        f"{SECONDS}; or None for no limit",
        "Seconds for all devices together.",
        None,
    ),
    **PROVISION.but(
        "id_scope", "credential", "payload", "issue", "on_step", "timeout", "cache"
    ).with_defaults(jitter=1.0),
    timeout=replace(COMMON["timeout"], sentence="Seconds for each device.", default=600.0),
    cache=replace(
        PROVISION["cache"],
        allowed="a folder's path, or None",
        sentence="The folder that keeps a file with each device's assignment.",
    ),
)

DIAGNOSE = Table(
    host=replace(HOST, default=REQUIRED),
    **PROVISION.only("port", "path"),
    transport=TRANSPORT,
    **COMMON.only("tls", "proxy"),
    id_scope=replace(
        ID_SCOPE,
        test=or_none(ID_SCOPE.test),
        allowed=f"{ID_SCOPE.allowed}, or None",
        default=None,
    ),
    credential=replace(
        CREDENTIAL,
        test=or_none(CREDENTIAL.test),
        allowed=f"{CREDENTIAL.allowed}, or None",
        default=None,
    ),
    **COMMON.only("timeout", "hop_timeout", "request_timeout", "on_step").with_defaults(
        timeout=60.0
    ),
)
