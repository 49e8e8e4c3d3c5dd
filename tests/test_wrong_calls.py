"""Wrong arguments of public methods, values and stores: each a UsageError that names it.

The options of the big calls are tried in ``test_wrong_values``. Methods are called on clients that
are connected, to local services that run.
"""

import asyncio
import inspect
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import mqttws

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
CREDENTIAL = mqttws.SymmetricKey("dev", KEY)
NAN = float("nan")

TEXT = (None, 5, b"x", [], True)
FLAG = (1, 0, "yes", None, [])
SECONDS = ("x", -1, NAN, 1e12, True, [], b"1")
NO_SECONDS = (0, None, *SECONDS)
FUNCTION = (5, "print", True, [])
DEVICE = ("", *TEXT)

Wrong = dict[str, tuple[object, ...]]
Case = tuple[str, str, dict[str, object], Wrong]
"""Class, method, its good arguments, and the wrong values of each argument."""


def client_methods() -> Iterator[Case]:
    message: Wrong = {
        "topic": ("", "a/#", "a/+", "a\0b", "x" * 70_000, "\ud800", *TEXT),
        "payload": (None, 5, [], True, {}, "\ud800", 1.5),
        "qos": (3, -1, "1", 1.5, None, True, [], 10**30),
        "retain": FLAG,
    }
    yield "Client", "publish", {"topic": "devices/dev/messages/events/"}, message
    yield "Client", "publish_nowait", {"topic": "devices/dev/messages/events/"}, message
    filters: Wrong = {
        "topic_filter": ("", "a/#/b", "a+", "\ud800", None, 5, b"x", True, [], [5]),
        "qos": message["qos"],
    }
    yield "Client", "subscribe", {"topic_filter": "t"}, filters
    yield "Client", "messages", {}, {"topic_filter": ("", "a/#/b", "a+", 5, b"x", True, [])}
    yield "Client", "disconnect", {}, {"timeout": ("x", -1, NAN, True, None, [], b"1")}
    yield "Client", "reconnect", {}, {"timeout": ("x", -1, NAN, True, None, [], b"1")}
    urls = (5, None, "", "http://broker.example", "broker.example", [], [5])
    good = {"url": "wss://other.example/"}
    yield "Client", "redirect", good, {"url": urls, "username": (5, b"x", True, [])}
    yield "Client", "failed", {}, {"forget": FLAG}


def hub_client_methods() -> Iterator[Case]:
    telemetry: Wrong = {
        "body": (None, 5, 1.5, True, "\ud800", {"a": NAN}, {"a": b"x"}),
        "properties": (5, "x", [], True, {"a": 5}, {5: "a"}),
        "message_id": ("x" * 129, *TEXT),
        "creation_time": (5, "2026-01-01", True, []),
    }
    names = "content_type content_encoding correlation_id user_id output component"
    telemetry |= dict.fromkeys(names.split(), TEXT)
    yield "HubClient", "send_telemetry", {}, telemetry
    yield "HubClient", "send_telemetry_nowait", {}, telemetry
    yield "HubClient", "send_batch", {}, {"bodies": (None, 5, True, [5], [None])}
    yield "HubClient", "patch_reported", {}, {"patch": (None, 5, "x", [], True, {"a": NAN})}
    method: Wrong = {
        "name": ("", 5, b"x", True, []),
        "handler": (None, *FUNCTION),
        "time_limit": NO_SECONDS,
    }
    yield "HubClient", "on_method", {"name": "m", "handler": print}, method
    yield "HubClient", "disconnect", {}, {"timeout": ("x", -1, NAN, True, None, [], b"1")}


def dps_methods() -> Iterator[Case]:
    record: Wrong = {"record": (None, 5, "x", [], {}, {"a": b"x"}), "replace": FLAG}
    yield "LocalDps", "enroll", {"record": {"registrationId": "dev"}}, record
    device = {"registration_id": ("", "a b", "x" * 200, *TEXT)}
    yield "LocalDps", "enroll_device", {}, device
    fault: Wrong = {
        "kind": ("", "answers", *TEXT),
        "device": (5, b"x", True, []),
        "request": ("", "polls", 5, True, []),
        "times": (0, "x", 1.5, True, [], 10**30),
        "probability": ("x", -1, 1.5, NAN, True, None, []),
        "status": (200, "x", 1.5, True, None, []),
        "retry_after": (-1, "x", 1.5, True, []),
        "seconds": SECONDS,
        "code": (0, "x", 1.5, True, None, []),
    }
    yield "LocalDps", "fault", {"kind": "answer"}, fault


def hub_methods() -> Iterator[Case]:
    create: Wrong = {
        "device_id": ("a b", "x" * 129, *DEVICE),
        "module_id": ("a b", *TEXT),
        "key": ("x", "\ud800", 5, b"x", True, []),
        "certificate": ("x", 5, True, []),
        "ca_signed": FLAG,
        "initial_twin": (5, "x", True, []),
    }
    yield "LocalHub", "create_device", {"device_id": "dev"}, create
    ids: Wrong = {"device_id": DEVICE, "module_id": TEXT}
    patch: Wrong = {"desired": (5, "x", True, []), "tags": (5, "x", True, [])}
    patch |= ids | {"replace_all": FLAG}
    yield "LocalHub", "patch_twin", {"device_id": "dev"}, patch
    invoke: Wrong = {
        "method": ("", *TEXT),
        "payload": (NAN, b"x"),
        "response_timeout": NO_SECONDS,
        "connect_timeout": (None, *SECONDS),
    }
    yield "LocalHub", "invoke", {"device_id": "dev", "method": "m"}, invoke | ids
    send: Wrong = {
        "device_id": DEVICE,
        "payload": (None, 5, "x", True, []),
        "properties": (5, "x", True, [], {"a": 5}),
        "message_id": TEXT,
        "ack": ("", "all", *TEXT),
        "expires_in": SECONDS,
    }
    yield "LocalHub", "send", {"device_id": "dev", "payload": b"x"}, send
    fault: Wrong = {
        "kind": ("", "answers", *TEXT),
        "device": (5, b"x", True, []),
        "operation": ("", "poll", 5, True, []),
        "times": (0, "x", 1.5, True, [], 10**30),
        "probability": ("x", -1, 1.5, NAN, True, None, []),
        "status": (200, "x", 1.5, True, None, []),
        "return_code": (0, 6, "x", True, None, []),
        "seconds": SECONDS,
    }
    yield "LocalHub", "fault", {"kind": "answer"}, fault
    yield "LocalHub", "next_telemetry", {}, {"timeout": SECONDS}


PEM_TEXT = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"
FILE = (5, True, [], PEM_TEXT)


def values() -> Iterator[tuple[str, Callable[..., Any], dict[str, object], Wrong]]:
    """Yield name, maker, good arguments, and the wrong ones of each argument."""
    yield "Backoff", mqttws.Backoff, {}, {"first": SECONDS, "limit": SECONDS[:3]}
    version = ssl.TLSVersion
    tls: Wrong = {
        "ca": FILE,
        "only_ca": FLAG,
        "certificate": FILE,
        "key": FILE,
        "key_password": (5, True, [], {}),
        "minimum_version": (version.TLSv1, "1.2", 1.2, None, True),
        "maximum_version": (version.TLSv1_1, "1.3", 1.3, None, True),
        "truststore": FLAG,
    }
    yield "TlsConfig", mqttws.TlsConfig, {}, tls
    proxy: Wrong = {
        "url": (5, True, [], {"https": "http://x"}, b"http://x", ""),
        "login": ("user:password", ("user", "password"), *FUNCTION),
        "on_challenge": FUNCTION,
        "tls": (False, "ca.pem", 5, [], {"verify": False}),
    }
    yield "ProxyConfig", mqttws.ProxyConfig, {}, proxy
    yield (
        "Login",
        mqttws.Login,
        {"username": "u", "password": "p"},
        {
            "username": TEXT,
            "password": TEXT,
        },
    )
    store: Wrong = {
        "path": (None, 5, True, [], "", "\0"),
        "synchronous": ("full", "", *TEXT),
        "busy_timeout": (None, *SECONDS),
    }
    yield "SqliteStore", mqttws.SqliteStore, {"path": "me.db"}, store
    names = ("", "a b", "x" * 200, *TEXT)
    keys = (None, 5, "", "x", True, [], b"")
    for name, made in (
        ("SymmetricKey", mqttws.SymmetricKey),
        ("from_group_key", mqttws.SymmetricKey.from_group_key),
    ):
        key = "key" if name == "SymmetricKey" else "group_key"
        good = {"registration_id": "dev", key: KEY}
        yield name, made, good, {"registration_id": names, key: keys}
    yield "ExternalKey", mqttws.ExternalKey, {}, {"registration_id": names}
    files: Wrong = {"chain": (None, *FILE), "key": (None, *FILE[:3]), "registration_id": TEXT[1:]}
    yield "X509Certificate", mqttws.X509Certificate, {"chain": b"x", "key": b"x"}, files
    for name in ("HubClient", "AsyncHubClient"):
        made = getattr(mqttws, name).from_connection_string
        text = {"connection_string": f"HostName=hub.example;DeviceId=d;SharedAccessKey={KEY}"}
        texts = ("", "x", "HostName=h", *TEXT)
        yield name, made, text, {"connection_string": texts, "keep_alive": (0, "x", None)}
    yield "LoopThread", mqttws.LoopThread, {}, {"name": TEXT}


def plain(text: str) -> str:
    return text.lower().replace("_", "").replace(" ", "")


def fault_of(name: str, argument: str, error: BaseException | None) -> str:
    """Return what is wrong with the end of a wrong call; empty where nothing is."""
    if not isinstance(error, mqttws.UsageError):
        return f"{name}: {error!r:.100}"
    # A sentence says property or body, and key of a group's key.
    named = argument.removeprefix("group_").replace("ies", "")
    if plain(named) not in plain(str(error)):
        return f"{name}: not named: {error}"
    if KEY[:12] in f"{error}{error.hint}{error!r}":
        return f"{name}: shows a key"
    return ""


def test_a_wrong_value_of_a_value_or_store_is_named() -> None:
    faults = []
    for kind, made, good, wrong in values():
        for argument, bad in wrong.items():
            for value in bad:
                error: BaseException | None = None
                try:
                    made(**{**good, argument: value})
                except Exception as raised:
                    error = raised
                faults.append(fault_of(f"{kind}({argument}={value!r:.40})", argument, error))
    assert "\n".join(filter(None, faults)) == ""
    assert len(faults) > 150


Owners = dict[str, Any]
"""A connected client, a connected hub client, a DPS and a hub."""


def calls(owners: Owners) -> Iterator[tuple[str, Callable[[], Any], str]]:
    """Yield each wrong call: its name, the call, and the argument's name."""
    for of in (client_methods, hub_client_methods, dps_methods, hub_methods):
        for kind, method, good, wrong in of():
            if kind not in owners:
                continue
            for argument, bad in wrong.items():
                for value in bad:
                    call = partial(getattr(owners[kind], method), **{**good, argument: value})
                    yield f"{kind}.{method}({argument}={value!r:.40})", call, argument


def test_a_wrong_argument_of_a_method_is_named(dps_state: Path) -> None:
    with mqttws.LocalDps(state=dps_state) as dps, mqttws.LocalHub(dps) as hub:
        hub.create_device("dev", key=KEY)
        way = {"host": dps.host, "port": dps.wss_port, "tls": dps.options["tls"], "reconnect": None}
        place = mqttws.Assignment(hub.name, "dev", "", "dev", "")
        faults = []
        for kind in ("client", "hub_client"):
            with getattr(place, kind)(CREDENTIAL, **way) as client:
                name = "Client" if kind == "client" else "HubClient"
                owners = {name: client} | (
                    {"LocalDps": dps, "LocalHub": hub} if name == "Client" else {}
                )
                for name, call, argument in calls(owners):
                    error: BaseException | None = None
                    try:
                        call()
                    except Exception as raised:
                        error = raised
                    faults.append(fault_of(name, argument, error))
    assert "\n".join(filter(None, faults)) == ""
    assert len(faults) > 400


async def test_a_wrong_argument_of_an_async_method_is_named(dps_state: Path) -> None:
    async with mqttws.AsyncLocalDps(state=dps_state) as dps, mqttws.AsyncLocalHub(dps) as hub:
        await hub.create_device("dev", key=KEY)
        way = {"host": dps.host, "port": dps.wss_port, "tls": dps.options["tls"], "reconnect": None}
        place = mqttws.Assignment(hub.name, "dev", "", "dev", "")
        faults = []
        for kind in ("client", "hub_client"):
            async with getattr(place, f"{kind}_async")(CREDENTIAL, **way) as client:
                name = "Client" if kind == "client" else "HubClient"
                owners = {name: client} | (
                    {"LocalDps": dps, "LocalHub": hub} if name == "Client" else {}
                )
                for name, call, argument in calls(owners):
                    error: BaseException | None = None
                    try:
                        made = call()
                        if inspect.isawaitable(made):
                            await asyncio.wait_for(made, 5)
                    except Exception as raised:
                        error = raised
                    faults.append(fault_of(name, argument, error))
    assert "\n".join(filter(None, faults)) == ""
    assert len(faults) > 400
