"""The options of ``Client`` and ``AsyncClient``."""

from collections.abc import Mapping

from ..retry import REFUSED_LOGIN_WAIT, Backoff
from .common import A_FUNCTION, COMMON, MANY, SECONDS, SECONDS_OR_0
from .option import Option, Table
from .values import (
    has,
    instance,
    is_bool,
    is_function,
    is_seconds,
    is_seconds_or_0,
    is_text,
    one_of,
    or_none,
    whole,
)

CLIENT = Table(
    client_id=Option(
        is_text, "a str; empty lets the server choose", "The client's identifier.", ""
    ),
    username=Option(or_none(is_text), "a str, or None", "The user name.", None),
    password=Option(
        or_none(lambda value: isinstance(value, str | bytes) or callable(value)),
        "a str, bytes, a function that returns one, or None",
        "The password, or a function that returns a fresh one for each connection.",
        None,
        secret=True,
    ),
    clean_session=Option(
        is_bool, "True or False", "Whether the server forgets the session at each end.", True
    ),
    keep_alive=Option(
        whole(0, 65535), "whole seconds: 0 (off) to 65535", "Seconds between signs of life.", 60
    ),
    will=Option(
        or_none(has("topic", "payload", "qos", "retain")),
        "a Will, or None",
        "The message that the server sends when the connection is lost.",
        None,
    ),
    **COMMON.only("tls", "proxy"),
    connect_timeout=Option(is_seconds, SECONDS, "Seconds for each attempt to connect.", 30.0),
    **COMMON.only("hop_timeout", "request_timeout"),
    max_packet_size=Option(
        whole(2, 256 * 1024 * 1024 + 4),
        "bytes: 2 to 268435460",
        "Bytes of the largest packet that the server may send.",
        1024 * 1024,
    ),
    max_queued=Option(
        whole(1, MANY),
        f"1 to {MANY}",
        "Messages that may wait for messages() before the socket is left unread.",
        1000,
    ),
    max_outgoing=Option(
        whole(1, 60_000), "1 to 60000", "Publishes that may be unfinished at a time.", 10_000
    ),
    max_outgoing_bytes=Option(
        whole(1, 2**63 - 1),
        "bytes: 1 or more",
        "Bytes that unfinished publishes may take together.",
        64 * 1024 * 1024,
    ),
    max_in_flight=Option(
        whole(1, 60_000),
        "1 to 60000",
        "Publishes of QoS 1 and 2 that may wait for their acknowledgement at a time.",
        100,
    ),
    max_in_flight_qos2=Option(
        whole(1, 60_000),
        "1 to 60000",
        "Publishes of QoS 2 that may wait for their acknowledgement at a time.",
        20,
    ),
    after_pubrec=Option(
        one_of("unknown", "republish"),
        "'unknown' or 'republish'",
        "The end of a QoS 2 publish whose connection is lost after PUBREC with clean_session.",
        "unknown",
    ),
    unmatched_wait=Option(
        or_none(is_seconds_or_0),
        f"{SECONDS_OR_0}; or None for never",
        "Seconds after CONNACK until messages are acknowledged that fit no open stream; they stand"
        " still while subscribe awaits its answer.",
        10.0,
    ),
    strict=Option(
        is_bool,
        "True or False",
        "Whether an acknowledgement that fits nothing, or DUP with QoS 0, ends the connection.",
        False,
    ),
    headers=Option(
        or_none(lambda value: isinstance(value, Mapping) or callable(value)),
        "a mapping of HTTP headers, a function that returns one, or None",
        "Headers for the WebSocket upgrade.",
        None,
        secret=True,
    ),
    reconnect=Option(
        or_none(instance("mqttws.retry.Backoff")),
        "a Backoff, or None for no reconnecting",
        "Waits between attempts to reconnect.",
        Backoff(),
    ),
    refused_login_retry=Option(
        or_none(is_seconds),
        f"{SECONDS}; or None for never",
        "Seconds before a login that a proxy refused is sent again.",
        REFUSED_LOGIN_WAIT,
    ),
    store=Option(
        or_none(
            lambda value: (
                has("load", "save", "close")(value)
                or instance("mqttws.client.store.MemoryStore")(value)
            )
        ),
        "a store, such as SqliteStore(path) or MemoryStore(), or None",
        "The place of the session.",
        None,
    ),
    manual_ack=Option(
        is_bool, "True or False", "Whether messages are acknowledged by ack() only.", False
    ),
    **COMMON.only("on_step", "on_packet"),
    on_state=Option(or_none(is_function), A_FUNCTION, "Called with each change of state.", None),
    on_attempt_failed=Option(
        or_none(is_function), A_FUNCTION, "Asked after each failed attempt to reconnect.", None
    ),
)

THREAD = Table(
    thread=Option(
        or_none(instance("mqttws.loop_thread.thread.LoopThread")),
        "a LoopThread, or None for a thread of its own",
        "The background thread, to share one among several clients.",
        None,
    ),
)

SYNC_CLIENT = Table(CLIENT, THREAD)
