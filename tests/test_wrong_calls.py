"""Wrong arguments of public methods, values and stores: each a UsageError that names it.

The options of the big calls are tried in ``test_wrong_values``. Methods are called on clients that
are connected, to local services that run.
"""

import asyncio
import enum
import inspect
import json
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import mqttws
from mqttws.dps.enrollment_json import parse_enrollments
from mqttws.hub import topics as hub_topics
from mqttws.local.x509 import DeviceAuthority
from mqttws.options import SYNC_ASSIGNED_HUB_CLIENT

from .test_options import CALLS

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
CREDENTIAL = mqttws.SymmetricKey("dev", KEY)
KEYS = {"primaryKey": KEY, "secondaryKey": KEY}
RECORD = {
    "enrollmentGroupId": "fleet",
    "attestation": {"type": "symmetricKey", "symmetricKey": KEYS},
}
GROUP = parse_enrollments(json.dumps([RECORD]), "test")[0]
NAN = float("nan")

TEXT = (None, 5, b"x", [], True)
FLAG = (1, 0, "yes", None, [])
SECONDS = ("x", -1, NAN, 1e12, True, [], b"1")
NO_SECONDS = (0, None, *SECONDS)
FUNCTION = (5, "print", True, [])
DEVICE = ("", *TEXT)
SOME_DEVICE = ("", 5, b"x", [], True)
NUMBER = ("x", -1, 1.5, True, [], b"1")
WAIT = ("x", -1, NAN, 1e12, True, [], b"1")
TLS = (5, "ca.pem", True, [], {"verify": False})
NO_JSON = ({"a": NAN}, {"a": b"x"}, {5: 1}, {"a": [{5: 1}]}, {"a": object()})

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
    yield "Client", "redirect", good, {"url": urls, "username": (5, b"x", True, []), "tls": TLS}
    yield "Client", "failed", {}, {"forget": FLAG}
    filters = ("", "a/#/b", "a+", "\ud800", None, 5, b"x", True, [], ["a", 5])
    yield "Client", "unsubscribe", {}, {"topic_filters": filters}


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
    del method["handler"]
    yield "HubClient", "method", {"name": "m"}, method
    yield "HubClient", "renew_certificate", {}, {"timeout": NO_SECONDS}
    yield "HubClient", "disconnect", {}, {"timeout": ("x", -1, NAN, True, None, [], b"1")}


def dps_methods() -> Iterator[Case]:
    record: Wrong = {"record": (None, 5, "x", [], {}, {"a": b"x"}), "replace": FLAG}
    yield "LocalDps", "enroll", {"record": {"registrationId": "dev"}}, record
    device: Wrong = {"registration_id": ("a b", "x" * 200, *DEVICE), "credential_policy": TEXT}
    yield "LocalDps", "enroll_device", {"registration_id": "dev"}, device
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
    yield "LocalDps", "enroll_group", {}, {"enrollment_group_id": DEVICE}
    certificate: Wrong = {"registration_id": ("a b", *DEVICE), "group": TEXT}
    yield "LocalDps", "enroll_certificate", {"registration_id": "dev"}, certificate
    for name in ("delete", "disable", "enable"):
        yield "LocalDps", name, {"name": "dev"}, {"name": DEVICE, "group": FLAG}
    known: Wrong = {"enrollment": (None, 5, {}, "dev"), "replace": FLAG}
    yield "LocalDps", "keep", {"enrollment": GROUP}, known
    lists = (None, 5, "x", [5], {"a": 1})
    yield "LocalDps", "enroll_once", {}, {"enrollments": lists}
    yield "LocalDps", "registration", {}, {"registration_id": DEVICE}
    seen: Wrong = {"kind": ("", "requst", *TEXT[1:]), "device": SOME_DEVICE}
    yield "LocalDps", "seen", {}, seen | {"after": (None, *NUMBER)}
    waited: Wrong = {"kind": ("", "requst", *TEXT[1:]), "device": SOME_DEVICE, "timeout": WAIT}
    yield "LocalDps", "wait_for", {"kind": "fault"}, waited | {"after": (None, *NUMBER)}
    yield "LocalDps", "events", {}, {"after": NUMBER}
    yield "LocalDps", "restart", {}, {"seconds": (None, *WAIT)}
    yield "LocalDps", "service_connection_string", {}, {"policy": ("", "owner", *TEXT)}
    yield "LocalDps", "run", {"work": print}, {"work": (None, *FUNCTION), "timeout": WAIT}


def hub_methods() -> Iterator[Case]:
    create: Wrong = {
        "device_id": ("a b", "x" * 129, *DEVICE),
        "module_id": ("a b", *TEXT),
        "key": ("x", "\ud800", 5, b"x", True, []),
        "certificate": ("x", 5, True, []),
        "ca_signed": FLAG,
        "initial_twin": (5, "x", True, [], *NO_JSON),
    }
    yield "LocalHub", "create_device", {"device_id": "dev"}, create
    ids: Wrong = {"device_id": DEVICE, "module_id": TEXT}
    patch: Wrong = dict.fromkeys(("desired", "tags"), (5, "x", True, [], *NO_JSON))
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
        **dict.fromkeys(["message_id", "correlation_id", "user_id", "content_type"], TEXT),
        "content_encoding": TEXT,
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
        "skip": (None, *NUMBER),
        "seed": ("x", 1.5, True, []),
        "retry_after": WAIT,
        "chain": ("", "expird", *TEXT),
    }
    yield "LocalHub", "fault", {"kind": "answer"}, fault
    for name in ("next_telemetry", "telemetry"):
        yield "LocalHub", name, {}, {"timeout": WAIT}
    for name in ("twin", "delete_device", "connection_string", "is_connected"):
        yield "LocalHub", name, {"device_id": "dev"}, ids
    yield "LocalHub", "waiting", {}, {"device_id": DEVICE}
    enabled: Wrong = {"device_id": DEVICE, "enabled": FLAG}
    yield "LocalHub", "disable_device", {"device_id": "dev"}, enabled
    yield "LocalHub", "drop", {}, {"device_id": SOME_DEVICE}
    yield "LocalHub", "events", {}, {"after": NUMBER}
    yield "LocalHub", "trust_ca", {}, {"certificate": ("", "x", b"", b"x", None, 5, True, [])}
    yield "LocalHub", "cancel_faults", {}, {"number": NUMBER}
    yield "LocalHub", "service_connection_string", {}, {"policy": ("", "owner", *TEXT)}
    yield "LocalHub", "run", {"work": print}, {"work": (None, *FUNCTION), "timeout": WAIT}


PEM_TEXT = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"
FILE = (5, True, [], PEM_TEXT)


def stream_methods() -> Iterator[Case]:
    """Yield the waits of what a client hands out."""
    for kind in ("SyncStream", "CloudMessageStream", "DesiredChanges"):
        yield kind, "next", {}, {"timeout": WAIT}
    for kind in ("Receipt", "TelemetryReceipt"):
        yield kind, "wait", {}, {"timeout": WAIT}


Value = tuple[str, Callable[..., Any], dict[str, Any], Wrong]
"""Name, maker or method, good arguments, and the wrong ones of each argument."""


def values() -> Iterator[Value]:
    """Yield the makers of values and stores, and the methods of what they make."""
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
    files["key_password"] = (5, True, [], {})
    yield "X509Certificate", mqttws.X509Certificate, {"chain": b"x", "key": b"x"}, files
    for name in ("HubClient", "AsyncHubClient"):
        made = getattr(mqttws, name).from_connection_string
        text = {"connection_string": f"HostName=hub.example;DeviceId=d;SharedAccessKey={KEY}"}
        texts = ("", "x", "HostName=h", *TEXT)
        yield name, made, text, {"connection_string": texts, "keep_alive": (0, "x", None)}
    yield "LoopThread", mqttws.LoopThread, {}, {"name": TEXT}
    yield from values_for_the_hub()
    yield from methods_of_values()


def values_for_the_hub() -> Iterator[Value]:
    """Yield what a program makes to hand it to a client or a service."""
    place = {"assigned_hub": "hub.example", "device_id": "d", "substatus": ""}
    place |= {"registration_id": "d", "operation_id": ""}
    parts: Wrong = dict.fromkeys((*place, "created", "last_updated", "etag"), TEXT)
    parts |= {"assigned_hub": ("", "a b", *TEXT), "device_id": ("", "a b", *TEXT)}
    yield "Assignment", mqttws.Assignment, place, parts
    yield (
        "MethodResponse",
        mqttws.MethodResponse,
        {},
        {
            "status": ("x", None, 1.5, True, [], 2**31),
            "payload": (NAN, b"x", object(), *NO_JSON),
        },
    )
    policy: Wrong = {
        "name": DEVICE,
        "validity": ("x", None, -1, 0, True, [], 1e12),
        "intermediates": ("x", None, -1, 99, True, [], 1.5),
    }
    yield "CredentialPolicy", mqttws.CredentialPolicy, {"name": "p"}, policy
    store: Wrong = {
        "folder": (None, 5, True, [], "", "\0"),
        "key": (5, "x", True, [], "rsa"),
        "renew_after": ("x", -1, 0, 1, 1.5, NAN, None, True, []),
    }
    yield "CertificateStore", mqttws.CertificateStore, {"folder": "certificate"}, store


def methods_of_values() -> Iterator[Value]:
    moment = (None, "x", -1, NAN, [], True)
    calls: Wrong = {"id_scope": DEVICE, "unix_now": moment}
    now = {"id_scope": "0ne", "unix_now": 1e9}
    device = DeviceAuthority.root().issue("dev")
    kept = mqttws.CertificateStore("certificate")
    certificate = mqttws.X509Certificate(device.chain, device.key)
    for credential in (CREDENTIAL, certificate, mqttws.ExternalKey("dev"), kept):
        kind = type(credential).__name__
        yield f"{kind}.password", credential.password, now, calls
        yield f"{kind}.digest", credential.digest, {}, {"context": TEXT}
        if not isinstance(credential, mqttws.SymmetricKey):
            yield f"{kind}.context", credential.context, {}, {"tls": TLS}
    lifetime = (0, -1, "x", None, NAN, 1e12, [], True)
    yield "SymmetricKey.password", CREDENTIAL.password, now, {"lifetime": lifetime}
    signed: Wrong = {"resource": DEVICE, "expiry": ("x", None, -1, 1.5, [], True)}
    yield "SymmetricKey.sign", CREDENTIAL.sign, {"resource": "r", "expiry": 5}, signed
    yield "CertificateStore.is_due", kept.is_due, {}, {"unix_now": moment}
    chances = (None, "x", -1, 2, NAN, [], True)
    yield "CertificateStore.renewal_time", kept.renewal_time, {}, {"chance": chances}
    names = (None, 5, "", "a b", [], True)
    yield "CertificateStore.begin", kept.begin, {}, {"common_name": names}
    wait: Wrong = {"attempt": (None, "x", -1, 1.5, [], True), "spread": (None, "x", -1, 2, NAN)}
    yield "Backoff.wait", mqttws.Backoff().wait, {"attempt": 0, "spread": 0.5}, wait
    yield "Backoff.ceiling", mqttws.Backoff().ceiling, {}, {"attempt": wait["attempt"]}
    session = mqttws.SqliteStore("session.db")
    yield "SqliteStore.load", session.load, {}, {"client_id": TEXT}
    yield "SqliteStore.save", session.save, {}, {"steps": (None, 5, "x", b"x", {"a": 1})}
    thread = mqttws.LoopThread()
    yield "LoopThread.close", thread.close, {}, {"timeout": (None, *WAIT)}
    work: Wrong = {"work": (None, *FUNCTION), "timeout": WAIT}
    yield "LoopThread.call", thread.call, {"work": print}, work
    yield "LoopThread.post", thread.post, {}, {"job": (None, *FUNCTION)}
    message: Wrong = {"device_id": ("", "a/b", *TEXT), "module_id": ("a/b", *TEXT)}
    topic = mqttws.TelemetryMessage(b"x").topic
    yield "TelemetryMessage.topic", topic, {"device_id": "d"}, message
    yield from topics()


def topics() -> Iterator[Value]:
    """Yield the functions of ``mqttws.hub.topics``, with text where text belongs."""
    for name, function in vars(hub_topics).items():
        if name.startswith("_") or getattr(function, "__module__", "") != hub_topics.__name__:
            continue
        if not inspect.isfunction(function):
            continue
        given: dict[str, Any] = {}
        wrong: Wrong = {}
        for one in inspect.signature(function).parameters.values():
            bad: tuple[object, ...] = TEXT
            good: Any = "a"
            if one.name == "properties":
                good, bad = {}, (5, "x", [5], True, {"a": 5}, {5: "a"}, {"a": b"x"}, {"": "a"})
            elif one.name == "status":
                good, bad = 200, (None, "200", 1.5, True, [])
            wrong[one.name] = bad
            if one.default is one.empty:
                given[one.name] = good
        yield f"topics.{name}", function, given, wrong


def plain(text: str) -> str:
    return text.lower().replace("_", "").replace(" ", "")


def fault_of(name: str, argument: str, error: BaseException | None) -> str:
    """Return what is wrong with the end of a wrong call; empty where nothing is."""
    if not isinstance(error, mqttws.UsageError):
        return f"{name}: {error!r:.100}"
    # A sentence says property or body, key of a group's key, registration id of its common name.
    named = argument.removeprefix("group_").replace("ies", "")
    named = named.replace("common_name", "registration_id").replace("filters", "filter")
    if plain(named) not in plain(str(error)):
        return f"{name}: not named: {error}"
    if KEY[:12] in f"{error}{error.hint}{error!r}":
        return f"{name}: shows a key"
    return ""


def test_a_wrong_value_of_a_value_or_store_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
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


METHODS = (client_methods, hub_client_methods, dps_methods, hub_methods, stream_methods)

Owners = dict[str, Any]
"""A client that is connected and what it has handed out, a DPS and a hub."""


def calls(owners: Owners) -> Iterator[tuple[str, Callable[[], Any], str]]:
    """Yield each wrong call: its name, the call, and the argument's name."""
    for of in METHODS:
        for kind, method, good, wrong in of():
            if kind not in owners or not hasattr(owners[kind], method):  # run: of sync twins alone
                continue
            for argument, bad in wrong.items():
                for value in bad:
                    called = getattr(owners[kind], method)
                    if method == "unsubscribe":  # which takes any number of them
                        call = partial(called, value)
                    else:
                        call = partial(called, **{**good, argument: value})
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
                if name == "Client":
                    owners["Receipt"] = client.publish_nowait("devices/dev/messages/events/")
                else:
                    owners["SyncStream"] = client.messages()
                    owners["TelemetryReceipt"] = client.send_telemetry_nowait(b"x")
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
                if name == "Client":
                    owners["Receipt"] = client.publish_nowait("devices/dev/messages/events/")
                else:
                    owners["CloudMessageStream"] = client.messages()
                    owners["DesiredChanges"] = client.desired_changes()
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


WILLS = [
    *((mqttws.Will(topic), "topic") for topic in ("", "a/#", "a\0b", *TEXT)),
    *((mqttws.Will("t", payload), "message") for payload in (None, 5, [], True)),
    *((mqttws.Will("t", qos=qos), "QoS") for qos in (3, -1, "1", 1.5, None)),
    *((mqttws.Will("t", retain=retain), "retain") for retain in FLAG),
]
TELEMETRY = [
    *((mqttws.TelemetryMessage(body), "body") for body in (None, 5, [], True)),
    *(
        (mqttws.TelemetryMessage(b"x", properties), "properties")
        for properties in (None, 5, "x", [], True, {"a": 5}, {5: "a"})
    ),
    *(
        (mqttws.TelemetryMessage(b"x", **{name: value}), name)
        for name in ("message_id", "content_type", "user_id", "output", "interface_id")
        for value in TEXT
    ),
    (mqttws.TelemetryMessage(b"x", message_id="x" * 129), "message id"),
    *(
        (mqttws.TelemetryMessage(b"x", creation_time=moment), "creation_time")
        for moment in (5, "x", True, [])
    ),
]


def test_a_value_is_judged_where_it_is_used() -> None:
    """A will when the client is made, telemetry when it is sent."""
    faults = []
    client = partial(mqttws.AsyncClient, "wss://broker.example/")
    hub_client = partial(mqttws.AsyncHubClient, "hub.example", "dev", CREDENTIAL)
    calls: list[tuple[Callable[[], object], str]] = [
        (partial(client, will=will), named)  # type: ignore[arg-type]
        for will, named in WILLS
    ]
    for message, named in TELEMETRY:
        calls += [(partial(hub_client, will=message), named), (partial(message.topic, "d"), named)]
    for call, named in calls:
        error: BaseException | None = None
        try:
            call()
        except Exception as raised:
            error = raised
        faults.append(fault_of(f"{call}", named, error))
    assert "\n".join(filter(None, faults)) == ""


# Which callables there are


MADE_HERE = {
    *("CertificateFacts", "Challenge", "CloudMessage", "CloudMessageStream", "DesiredChange"),
    *("DesiredChanges", "FleetResult", "MessageStream", "MethodRequest", "ReceivedMessage"),
    *("Receipt", "Report", "Step", "SyncStream", "TelemetryReceipt", "Twin"),
}
"""Classes whose instances the package makes and hands out."""

IN_USE = {"TelemetryMessage", "Will"}
"""Values that are judged where they are used: see ``test_a_value_is_judged_where_it_is_used``."""

ANYTHING = {("Assignment", "payload"), ("LocalDps.fault", "members")}
"""Arguments that may be anything, or that are tried by their own names."""

OURS = {
    "CertificateStore.begin",
}
"""Methods that the package itself calls."""


def public_callables() -> Iterator[tuple[str, str]]:
    """Yield name and argument of everything that a program can call with one.

    Of twins the synchronous one: both are called in the tests above.
    """
    for name in mqttws.__all__:
        value = getattr(mqttws, name)
        if not callable(value) or name.startswith("Async") or name.endswith("_async"):
            continue
        if inspect.isclass(value) and issubclass(value, BaseException | enum.Enum):
            continue
        made = [] if name in MADE_HERE | IN_USE else [(name, value)]
        for method in dir(value) if inspect.isclass(value) else ():
            static = inspect.getattr_static(value, method)
            called = f"{name}.{method}"
            if method.startswith("_") or isinstance(static, property) or called in OURS:
                continue
            if callable(getattr(value, method)):
                made.append((called, getattr(value, method)))
        for called, what in made:
            for one in inspect.signature(what).parameters.values():
                if one.name != "self" and (called, one.name) not in ANYTHING:
                    yield called, one.name


def tried() -> set[tuple[str, str]]:
    """Return name and argument of every wrong value in this file and in ``test_wrong_values``."""
    found = {
        (f"Assignment.{call.__name__}" if inspect.ismethod(call) else call.__name__, name)
        for call, table in CALLS.items()
        for name in ["url", *table]
    }
    for text in ("from_connection_string",):
        found |= {(f"HubClient.{text}", name) for name in SYNC_ASSIGNED_HUB_CLIENT}
    for of in METHODS:
        found |= {(f"{kind}.{method}", name) for kind, method, _, wrong in of() for name in wrong}
    for kind, made, _, wrong in values():
        called = made.__qualname__ if inspect.ismethod(made) else kind
        found |= {(called, name) for name in wrong} | {(kind, name) for name in wrong}
    return found


def test_every_public_callable_is_tried_with_wrong_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = tried()
    left = [one for one in public_callables() if one not in known]
    assert left == []
