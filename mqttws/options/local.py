"""The options of the local services: ``LocalDps``, ``LocalHub`` and their asyncio twins."""

from collections.abc import Mapping
from dataclasses import replace

from .client import THREAD
from .common import A_LISTENING_PORT, MANY, SECONDS
from .option import Option, Table
from .provisioning import HOST, ID_SCOPE
from .values import (
    has,
    instance,
    is_bool,
    is_iterable,
    is_path,
    is_seconds,
    is_some_text,
    or_none,
    whole,
)

_is_policy = instance("mqttws.hub.service.access.Policy")

LISTENING = Table(
    wss_port=Option(
        or_none(whole(0, 65535)),
        A_LISTENING_PORT,
        "Port for MQTT over WebSocket; 0 takes a free one.",
        0,
    ),
    mqtts_port=Option(
        or_none(whole(0, 65535)), A_LISTENING_PORT, "Port for MQTT over TLS; 0 takes a free one.", 0
    ),
)

LOCAL_DPS = Table(
    host=replace(HOST, default="127.0.0.1", sentence="The address to listen on."),
    **LISTENING,
    state=Option(
        or_none(is_path), "a folder's path, or None", "The folder of the CA and certificate.", None
    ),
    id_scope=replace(ID_SCOPE, default="0ne00LOCAL"),
    enrollments=Option(is_iterable, "a sequence of enrollments", "Devices that may register.", ()),
    first_enrollments=Option(
        is_iterable, "a sequence of enrollments", "Devices that may register with new records.", ()
    ),
    records=Option(
        lambda value: value is None or not isinstance(value, bytes | int | float | type),
        "a file's path, postgresql://..., a store, or None for memory",
        "The place of enrollments and registrations.",
        None,
    ),
    hubs=Option(
        lambda value: is_iterable(value) or isinstance(value, Mapping),
        "a sequence of host names, or a mapping from them to weights",
        "The linked IoT hubs.",
        ("local-hub.azure-devices.net",),
    ),
    retry_after=Option(whole(0, 10**6), "whole seconds: 0 to 1000000", "Seconds between polls.", 3),
    assigning_polls=Option(
        whole(0, 10**6), "0 to 1000000", "Polls that are answered 202 before the last.", 0
    ),
    registers_per_minute=Option(
        or_none(whole(1, MANY)),
        "1 or more, or None",
        "Registrations a minute; more are answered 429.",
        None,
    ),
    polls_per_10s=Option(
        or_none(whole(1, MANY)),
        "1 or more, or None",
        "Polls of a device in 10 s; more are answered 429.",
        None,
    ),
    lenient=Option(is_bool, "True or False", "Serve what the real service refuses.", False),
    credential_policies=Option(
        is_iterable,
        "a sequence of CredentialPolicy",
        "Policies by which certificates are issued, beside the one named 'default'.",
        (),
    ),
    issuing_ca=Option(
        or_none(is_path),
        "a PEM file's path, or None for a development CA",
        "The CA that issues certificates.",
        None,
    ),
    connection_profiles=Option(
        or_none(lambda value: isinstance(value, Mapping)),
        "a mapping from host names of hubs to profiles, or None",
        "The connectionProfile of hubs; 'classic' for one that is not named.",
        None,
    ),
    fault_seed=Option(
        or_none(whole(-(2**63), 2**63)), "an int, or None", "Seed of the random faults.", None
    ),
)

SYNC_LOCAL_DPS = Table(LOCAL_DPS.with_defaults(retry_after=0), THREAD)

OWN_DPS = (
    "host", "wss_port", "mqtts_port", "state", "id_scope", "enrollments", "first_enrollments",
    "records", "retry_after", "assigning_polls", "registers_per_minute", "polls_per_10s", "lenient",
    "credential_policies", "issuing_ca", "connection_profiles",
)  # fmt: skip
"""The options of a hub that are those of its own DPS, where none is given."""

LOCAL_HUB = Table(
    dps=Option(
        or_none(instance("mqttws.local.dps.AsyncLocalDps")),
        "an AsyncLocalDps, or None for one of its own",
        "The DPS whose ports the hub shares.",
        None,
    ),
    name=Option(is_some_text, "a host name", "The hub's host name.", "local-hub.azure-devices.net"),
    store=Option(
        or_none(has("load", "commit", "list")),
        "a store of a hub's records, or None for the DPS's",
        "The place of the hub's records.",
        None,
    ),
    policies=Option(
        or_none(lambda value: isinstance(value, list) and all(map(_is_policy, value))),
        "a list of Policy, or None for those of a new hub",
        "The shared access policies.",
        None,
        secret=True,
    ),
    limits=Option(
        or_none(instance("mqttws.hub.service.throttles.Limits")),
        "Limits, or None for no throttles",
        "The throttles.",
        None,
    ),
    lock_seconds=Option(
        is_seconds,
        SECONDS,
        "Seconds until a message without PUBACK is delivered again.",
        60.0,
    ),
    count_deliveries=Option(
        is_bool, "True or False", "Whether such a delivery counts towards maxDeliveryCount.", False
    ),
    **LOCAL_DPS.only("fault_seed", *OWN_DPS),
)

SYNC_LOCAL_HUB = Table(
    LOCAL_HUB.with_defaults(retry_after=0),
    THREAD,
    dps=replace(
        LOCAL_HUB["dps"],
        test=or_none(instance("mqttws.local.running.LocalDps")),
        allowed="a LocalDps, or None for one of its own",
    ),
)
