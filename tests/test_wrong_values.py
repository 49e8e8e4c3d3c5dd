"""Wrong values for every option of every public call: each is a UsageError that names it."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import mqttws
from mqttws.options import REQUIRED

from .test_options import CALLS

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
SECRET = "HostName=hub.example;DeviceId=d;SharedAccessKey=" + KEY

SECONDS = ("x", -1, 0, float("nan"), float("inf"), 1e12, True, None, [], b"1")
COUNT = ("x", -1, 1.5, 10**30, True, [], b"1")
FUNCTION = (5, "print", True, [])
BOOL = (1, 0, "yes", None, [])
TEXT = (5, b"x", [], True)
OBJECT = ("me.db", 5, True, [], {})

WRONG: dict[str, tuple[object, ...]] = {
    "url": (5, None, "", "http://broker.example", "broker.example", [], [5]),
    "client_id": (None, *TEXT),
    "username": TEXT,
    "password": (5, True, [], {}),
    "clean_session": BOOL,
    "keep_alive": (None, 65536, *COUNT),
    "will": (("t", b"x"), *OBJECT),
    "tls": (False, "ca.pem", 5, [], {"verify": False}),
    "proxy": (5, True, [], {"https": "http://x"}, b"http://x", ""),
    "connect_timeout": SECONDS,
    "hop_timeout": SECONDS,
    "request_timeout": SECONDS,
    "max_packet_size": (None, 0, *COUNT),
    "max_queued": (None, 0, *COUNT),
    "max_outgoing": (None, 0, 60_001, *COUNT),
    "reconnect": (5, True, False, "yes", [], (1.0, 60.0)),
    "store": (mqttws.SqliteStore, *OBJECT),
    "manual_ack": BOOL,
    "on_step": FUNCTION,
    "on_packet": FUNCTION,
    "on_state": FUNCTION,
    "on_attempt_failed": FUNCTION,
    "thread": ("mqttws", 5, True, [], mqttws.LoopThread),
    "id_scope": ("", "a/b", "a b", SECRET, *TEXT),
    "credential": (SECRET, ("my-device", KEY), 5, [], mqttws.SymmetricKey),
    "credentials": (5, "x", True),
    "on_result": (None, *FUNCTION),
    "concurrency": (None, 0, *COUNT),
    "payloads": ([], "x", 5),
    "host": (None, "", " ", *TEXT),
    "port": ("443", -1, 0, 65_536, 443.0, True, []),
    "path": (None, "", "mqtt", *TEXT),
    "transport": (None, "", "ws", "WSS", *TEXT),
    "timeout": SECONDS,
    "api_version": (None, "", *TEXT),
    "jitter": ("x", -1, float("nan"), 1e12, True, None, []),
    "max_retry_after": SECONDS,
    "cache": (5, True, [], ""),
    "force": BOOL,
    "wss_port": ("443", -1, 65_536, 443.0, True, []),
    "mqtts_port": ("443", -1, 65_536, 443.0, True, []),
    "state": (5, True, [], ""),
    "enrollments": (None, 5, "x", {}),
    "hubs": (None, 5, "hub.example"),
    "retry_after": (None, *COUNT),
    "assigning_polls": (None, *COUNT),
    "registers_per_minute": (0, *COUNT),
    "polls_per_10s": (0, *COUNT),
    "max_outgoing_bytes": (None, 0, *COUNT),
    "max_in_flight": (None, 0, 60_001, *COUNT),
    "max_in_flight_qos2": (None, 0, 60_001, *COUNT),
    "after_pubrec": (None, "", "again", *TEXT),
    "refused_login_retry": ("x", 0, -1, True, []),
    "unmatched_wait": ("x", -1, True, []),
    "strict": BOOL,
    "headers": (5, "x", True, []),
    "pipelined": ("", "x", True, 5),
    "wait_for_network": BOOL,
    "total_timeout": ("x", -1, 0, True, []),
    "first_enrollments": (None, 5, "x", {}),
    "records": (5, True, b"x", mqttws.SqliteStore),
    "hub": (None, "", *TEXT),
    "device_id": (None, "", *TEXT),
    "module_id": (None, *TEXT),
    "token_lifetime": SECONDS,
    "client_type": (None, *TEXT),
    "model_id": (None, *TEXT),
    "provisioning": FUNCTION,
    "provisioning_limit": (None, 0, *COUNT),
    "lenient": BOOL,
    "credential_policies": (None, 5, "x", {}),
    "issuing_ca": ("", 5, True, b"x", []),
    "connection_profiles": (5, "x", True, []),
    "dps": (5, "x", True, mqttws.LocalDps),
    "name": (None, "", *TEXT),
    "policies": (5, "x", True, [5]),
    "limits": (5, "x", True, []),
    "lock_seconds": SECONDS,
    "count_deliveries": BOOL,
    "issue": ("x", 5, True, [], mqttws.CertificateStore),
    "auto_renew": BOOL,
    "fault_seed": ("x", 1.5, True, [], 10**30),
}
"""By option: values of a wrong type, None, negative, zero, huge, empty, and nearly right."""

GOOD: dict[str, object] = {
    "url": "wss://broker.example/mqtt",
    "id_scope": "0ne00ABCDEF",
    "credential": mqttws.SymmetricKey("my-device", KEY),
    "credentials": [],
    "on_result": print,
    "host": "dps.example",
    "hub": "hub.example",
    "device_id": "my-device",
}


ALLOWED = {
    *(
        (name, "host", None)
        for name in ("client", "client_async", "hub_client", "hub_client_async")
    ),
    ("hub_client", "credential", SECRET),
    ("hub_client_async", "credential", SECRET),
    ("AsyncHubClient", "credential", SECRET),  # a str is a key, whose form is checked elsewhere
    ("HubClient", "credential", SECRET),
    ("AsyncHubClient", "host", None),
    ("HubClient", "host", None),
}
"""Values that are wrong for other calls only."""


def cases() -> Iterator[Any]:
    for call, table in CALLS.items():
        required = {
            name: GOOD[name]
            for name, one in inspect.signature(call).parameters.items()
            if one.default is one.empty
        }
        for name in [*(["url"] if "url" in required else []), *table]:
            for number, value in enumerate(WRONG.get(name, ())):
                this = (call.__name__, name)
                if any(this == one[:2] and value is one[2] for one in ALLOWED):
                    continue
                place = f"{call.__name__}-{name}-{number}"
                yield pytest.param(call, required, name, value, id=place)


def begin(call: Callable[..., Any], arguments: dict[str, object]) -> None:
    """Make the call, and await what it returns."""
    made = call(**arguments)
    if inspect.iscoroutine(made):
        asyncio.run(asyncio.wait_for(made, 5))


@pytest.mark.parametrize(("call", "required", "name", "value"), list(cases()))
def test_a_wrong_value_is_a_usage_error_that_names_the_option(
    call: Callable[..., Any], required: dict[str, object], name: str, value: object
) -> None:
    with pytest.raises(mqttws.UsageError) as caught:
        begin(call, required | {name: value})
    error = caught.value
    assert name.replace("_", " ") in str(error).lower().replace("_", " "), str(error)
    assert (error.party, error.retryable) == (mqttws.Party.CALLER, False)
    assert KEY[:12] not in f"{error}{error.hint}{error!r}"


def test_there_are_at_least_300_of_them_and_every_option_is_tried() -> None:
    assert len(list(cases())) >= 300
    untried = {name for table in CALLS.values() for name in table} - set(WRONG)
    assert untried == {"payload"}  # which may be anything


def test_the_other_kind_of_with_names_the_twin() -> None:
    async def wrong() -> None:
        async with mqttws.LocalDps():
            pass

    with pytest.raises(mqttws.UsageError) as caught:
        asyncio.run(wrong())
    assert "AsyncLocalDps" in f"{caught.value} {caught.value.hint}"
    with pytest.raises(mqttws.UsageError) as caught, mqttws.AsyncLocalDps():
        pass
    assert "LocalDps" in caught.value.hint
    with pytest.raises(mqttws.UsageError) as caught, mqttws.AsyncClient("wss://broker.example/"):
        pass
    assert "Client" in caught.value.hint


DEFAULTS_OF_ALL = [(call, name) for call, table in CALLS.items() for name in table]


def test_a_required_option_has_no_default() -> None:
    for call, name in DEFAULTS_OF_ALL:
        if CALLS[call][name].default is REQUIRED:
            assert name in GOOD
