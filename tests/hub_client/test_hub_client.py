"""AsyncHubClient against a scripted hub: each feature, and each of its promises."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from mqttws import ClientState, ConnectRefused, UsageError
from mqttws.errors import HubRequestRejected, RequestTimedOut
from mqttws.hub.device.methods import MethodRequest, MethodResponse
from mqttws.hub.device.telemetry import TelemetryMessage
from mqttws.hub.device.twin import Twin
from mqttws.hub_client.client import AsyncHubClient

from .conftest import KEY, HubOf

EVENTS = "devices/d/messages/events/"


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def test_telemetry_goes_with_its_properties(hub_and_client: HubOf, transport: str) -> None:
    async with hub_and_client(transport) as (hub, client_of):
        async with client_of() as client:
            await client.send_telemetry(b"1", properties={"a": "x y"}, message_id="m")
            await client.send_telemetry({"t": 21.5})
            await client.send_telemetry_nowait("text")
            await client.send_batch([b"2", TelemetryMessage(b"3", {"b": None}), [4]])
            with pytest.raises(UsageError, match="the hub allows 262144"):
                await client.send_telemetry(bytes(262_145))
            with pytest.raises(UsageError, match="the hub allows 262144"):
                await client.send_batch([b"never sent", bytes(262_145)])
    json_bag = "%24.ce=utf-8&%24.ct=application%2Fjson"
    assert hub.telemetry == [
        (f"{EVENTS}%24.mid=m&a=x%20y", b"1"),
        (EVENTS + json_bag, b'{"t":21.5}'),
        (EVENTS, b"text"),
        (EVENTS, b"2"),
        (f"{EVENTS}b", b"3"),
        (EVENTS + json_bag, b"[4]"),
    ]


async def test_the_device_names_itself_and_shows_a_token(hub_and_client: HubOf) -> None:
    async with hub_and_client() as (hub, client_of):
        async with client_of(module_id="m", model_id="dtmi:x;1") as client:
            assert client.connected
            assert KEY not in repr(client)
            await client.send_telemetry(b"1", output="out")
    connect = hub.connects[0]
    assert connect.client_id == "d/m"
    assert connect.username == (
        "hub.example/d/m/?api-version=2021-04-12&model-id=dtmi%3Ax%3B1&DeviceClientType=mqttws"
    )
    assert (connect.password or b"").startswith(
        b"SharedAccessSignature sr=hub.example%2Fdevices%2Fd%2Fmodules%2Fm&sig="
    )
    assert not connect.clean_session
    assert hub.telemetry == [("devices/d/modules/m/messages/events/%24.on=out", b"1")]


async def test_messages_from_the_cloud_are_acknowledged_when_they_are_taken(
    hub_and_client: HubOf, transport: str
) -> None:
    async with hub_and_client(transport) as (hub, client_of):
        async with client_of() as client:
            messages = client.messages()
            hub.send(b"1", {"$.mid": "one", "k": "v"})
            hub.send(b"2")
            first = await messages.next(10)
            assert (first.body, first.message_id, first.properties) == (b"1", "one", {"k": "v"})
            await until(lambda: len(hub.sessions["d"].outgoing) == 1)
            hub.cut()  # the second was never taken: it comes again
            await until(lambda: len(hub.connects) == 2 and client.connected)
            while hub.sessions["d"].outgoing:
                assert (await messages.next(10)).body == b"2"
                await client.send_telemetry(b"a round trip")


async def test_messages_wait_for_their_own_acknowledgement(hub_and_client: HubOf) -> None:
    async with hub_and_client() as (hub, client_of):
        client = client_of(manual_ack=True)
        messages = client.messages()
        hub.send(b"1")
        async with client:
            await messages.next(10)
            await client.send_telemetry(b"a round trip")
            assert len(hub.sessions["d"].outgoing) == 1
        client = client_of(manual_ack=True)
        async with client:
            message = await client.messages().next(10)
            assert message.repeated
            message.ack()
            message.ack()
            await until(lambda: not hub.sessions["d"].outgoing)
            with pytest.raises(RequestTimedOut, match=r"no message within 0\.01 s"):
                await client.messages().next(0.01)


async def test_a_message_behind_connack_is_not_lost(hub_and_client: HubOf) -> None:
    """The hub sends what a kept session is owed before the device has subscribed."""
    async with hub_and_client() as (hub, client_of):
        async with client_of() as client:
            client.messages()
            await client.twin()
        for number in range(5):
            hub.send(b"%d" % number)
        async with client_of() as client:
            await asyncio.sleep(0.05)
            messages = client.messages()
            assert [(await messages.next(10)).body for _ in range(5)] == [
                b"0", b"1", b"2", b"3", b"4",
            ]  # fmt: skip


async def test_methods_are_answered(
    hub_and_client: HubOf, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with hub_and_client(transport) as (hub, client_of):
        client = client_of()

        @client.method("add")
        async def add(request: MethodRequest) -> int:
            return sum(request.payload)

        @client.method("blocking")
        def blocking(request: MethodRequest) -> MethodResponse:
            return MethodResponse(202, {"name": request.name})

        @client.method("fails")
        async def fails(request: MethodRequest) -> None:
            raise ValueError("a secret")

        @client.method("hangs", time_limit=0.05)
        async def hangs(request: MethodRequest) -> None:
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled.append(1)
                    if len(cancelled) > 1:
                        raise

        @client.method("odd")
        async def odd(request: MethodRequest) -> object:
            return object()

        cancelled: list[int] = []
        expected = {
            ("add", "[1, 2]"): (200, 3),
            ("blocking", ""): (202, {"name": "blocking"}),
            ("fails", ""): (500, "the method failed"),
            ("hangs", ""): (504, "the method did not end in time"),
            ("odd", ""): (500, None),
            ("nothing", ""): (404, "this device has no such method"),
            ("add", "{"): (400, None),
        }
        async with client:
            for name, payload in expected:
                rid = f"rid-{name}-{len(payload)}"
                hub.publish(f"$iothub/methods/POST/{name}/?$rid={rid}", payload.encode())
            await until(lambda: len(hub.answers) == len(expected))
            for (name, payload), (status, answer) in expected.items():
                (found,) = hub.answers[f"rid-{name}-{len(payload)}"]
                assert found[0] == status, name
                assert answer is None or found[1] == answer
    assert "method 'fails' failed" in caplog.text
    assert "ValueError: a secret" in caplog.text  # in the log, not in the answer


async def test_a_call_that_comes_twice_runs_once(hub_and_client: HubOf) -> None:
    async with hub_and_client() as (hub, client_of):
        runs: list[str] = []
        client = client_of()
        client.on_method(None, lambda request: runs.append(request.request_id))
        async with client:
            for rid in ("1", "1", "2", "2"):
                hub.invoke("m", rid=rid)
            await until(lambda: len(hub.answers) == 2)
            hub.invoke("m", rid="1")
            hub.invoke("m", rid="3")
            await until(lambda: "3" in hub.answers)
            assert sorted(runs) == ["1", "2", "3"]
            hub.cut()
            await until(lambda: len(hub.connects) == 2 and client.connected)
            await client.twin()
            hub.invoke("m", rid="1")  # the hub counts anew
            await until(lambda: len(hub.answers["1"]) == 2)
            assert len(runs) == 4


async def test_a_method_is_answered_on_the_next_connection(hub_and_client: HubOf) -> None:
    async with hub_and_client() as (hub, client_of):
        client = client_of()
        goes_on = asyncio.Event()

        @client.method("slow")
        async def slow(request: MethodRequest) -> str:
            await goes_on.wait()
            return "done"

        async with client:
            rid = hub.invoke("slow")
            await client.twin()
            hub.cut()
            await until(lambda: len(hub.connects) == 2 and client.connected)
            goes_on.set()
            await until(lambda: rid in hub.answers)
            assert hub.answers[rid] == [(200, "done")]


async def test_the_twin_is_read_and_reported(hub_and_client: HubOf, transport: str) -> None:
    async with hub_and_client(transport) as (hub, client_of):
        hub.desired = {"interval": 5}
        async with client_of() as client:
            assert await client.twin() == Twin({"interval": 5}, {}, 1, 1)
            assert await client.patch_reported({"a": {"b": 1}, "c": 2}) == 2
            assert await client.patch_reported({"c": None}) == 3
            assert (await client.twin()).reported == {"a": {"b": 1}}
            for wrong in ([1], {"a": object()}, {"a": float("nan")}):
                with pytest.raises(UsageError, match="patch: "):
                    await client.patch_reported(wrong)  # type: ignore[arg-type]


async def test_an_error_answer_is_an_error_with_its_facts(hub_and_client: HubOf) -> None:
    async with hub_and_client() as (hub, client_of):
        hub.statuses = [400]
        async with client_of() as client:
            with pytest.raises(HubRequestRejected, match="the hub answered 400") as caught:
                await client.patch_reported({"a": 1})
            error = caught.value
            assert (error.status, error.error_code, error.tracking_id) == (400, 400_000, "t-1")


async def test_throttling_is_waited_for(
    hub_and_client: HubOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mqttws.hub_client.twins.wait_before", lambda attempt, chance: 0.01)
    async with hub_and_client() as (hub, client_of):
        hub.statuses = [429, 503, 429]
        async with client_of() as client:
            assert await client.patch_reported({"a": 1}) == 2
        assert len(hub.requests) == 4
        assert len(set(hub.requests)) == 4  # each with an id of its own


async def test_a_request_whose_answer_is_lost_is_sent_again(
    hub_and_client: HubOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hub_and_client() as (hub, client_of):
        hub.statuses = [0]  # it is cut off instead of being answered
        async with client_of() as client:
            asking = asyncio.create_task(client.twin())
            await until(lambda: hub.requests)
            hub.cut()
            assert (await asking).desired_version == 1
            monkeypatch.setattr("mqttws.hub_client.twins.ANSWER_TIMEOUT", 0.05)
            hub.statuses = [0]  # or it is silent on a connection that lives
            assert await client.patch_reported({"a": 1}) == 2


async def test_a_silent_hub_is_given_up_in_time(hub_and_client: HubOf) -> None:
    async with hub_and_client() as (hub, client_of):
        hub.statuses = [0] * 100
        async with client_of(request_timeout=0.3) as client:
            with pytest.raises(RequestTimedOut, match=r"was not read within 0\.3 s"):
                await client.twin()


async def test_reports_keep_their_order_over_a_cut(hub_and_client: HubOf) -> None:
    async with hub_and_client() as (hub, client_of):
        async with client_of() as client:
            hub.statuses = [200, 0]
            reports = [asyncio.create_task(client.patch_reported({"n": n})) for n in range(5)]
            await until(lambda: len(hub.requests) == 2)
            hub.cut()
            await asyncio.gather(*reports)
            assert hub.reported == {"n": 4}


async def test_desired_changes_come_as_a_stream(hub_and_client: HubOf, transport: str) -> None:
    async with hub_and_client(transport) as (hub, client_of):
        hub.desired = {"a": 1}
        client = client_of()
        changes = client.desired_changes()
        async with client:
            first = await changes.next(10)
            assert (first.patch, first.version, first.read) == ({"a": 1}, 1, True)
            hub.patch_desired({"b": 2})
            change = await changes.next(10)
            assert (change.patch, change.desired, change.read) == (
                {"b": 2},
                {"a": 1, "b": 2},
                False,
            )
            hub.loses_notifications = True
            hub.patch_desired({"a": None})
            hub.loses_notifications = False
            hub.patch_desired({"c": 3})  # shows the gap
            change = await changes.next(10)
            assert (change.patch, change.read) == ({"a": None, "c": 3}, True)
            hub.cut()
            hub.patch_desired({"d": 4})  # the device is away
            change = await changes.next(10)
            assert (change.patch, change.version) == ({"d": 4}, 5)
            with pytest.raises(RequestTimedOut):
                await changes.next(0.01)
        assert [change async for change in changes] == []  # the end


@pytest.mark.parametrize("keeps", [True, False])
async def test_everything_is_subscribed_after_a_reconnect(
    hub_and_client: HubOf, keeps: bool
) -> None:
    async with hub_and_client() as (hub, client_of):
        hub.keeps_sessions = keeps
        client = client_of()
        client.on_method("m", lambda request: None)
        messages, changes = client.messages(), client.desired_changes()
        filters = {
            "devices/d/messages/devicebound/#",
            "$iothub/methods/POST/#",
            "$iothub/twin/res/#",
            "$iothub/twin/PATCH/properties/desired/#",
        }
        async with client:
            await changes.next(10)
            assert set(hub.subscribed) == filters
            hub.subscribed.clear()
            hub.cut()
            await until(lambda: set(hub.subscribed) >= filters)
            await client.twin()
            hub.send(b"1")
            assert (await messages.next(10)).body == b"1"
            rid = hub.invoke("m")
            await until(lambda: rid in hub.answers)


async def test_features_can_begin_while_connected(hub_and_client: HubOf) -> None:
    async with hub_and_client() as (hub, client_of):
        async with client_of() as client:
            assert hub.subscribed == []
            changes = client.desired_changes()
            client.on_method("m", lambda request: 7)
            assert (await changes.next(10)).version == 1
            await until(lambda: "$iothub/methods/POST/#" in hub.subscribed)
            rid = hub.invoke("m")
            await until(lambda: hub.answers.get(rid) == [(200, 7)])


async def test_a_token_is_renewed_before_it_expires_and_nothing_is_lost(
    hub_and_client: HubOf, transport: str
) -> None:
    states: list[tuple[ClientState, Any]] = []
    async with hub_and_client(transport) as (hub, client_of):
        client = client_of(token_lifetime=2, on_state=lambda *told: states.append(told))
        messages = client.messages()
        async with client:
            sent = 0
            taken: set[bytes] = set()

            async def take() -> None:
                async for message in messages:
                    taken.add(message.body)

            taking = asyncio.create_task(take())
            while len(hub.connects) < 4:
                await client.send_telemetry(b"%d" % sent)
                hub.send(b"%d" % sent)
                sent += 1
                await asyncio.sleep(0.005)
            await until(lambda: len(taken) == sent)
            taking.cancel()
        assert {body for _, body in hub.telemetry} == {b"%d" % n for n in range(sent)}
        tokens = [connect.password for connect in hub.connects]
        assert len(set(tokens)) == len(tokens)
        # Every connection was left in order: none was ended by the hub for its token.
        assert {reason for state, reason in states if state is ClientState.RECONNECTING} == {None}


async def test_a_signed_token_serves_until_its_renewal_or_a_refusal(
    hub_and_client: HubOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    ahead = 0.0  # every token that is signed differs
    monkeypatch.setattr("mqttws.hub_client.access.time.time", lambda: now() + ahead)
    async with hub_and_client() as (hub, client_of):
        async with client_of(token_lifetime=3600) as client:

            async def after_a_cut(count: int) -> None:
                hub.cut()
                await until(lambda: len(hub.connects) == count)
                await client.send_telemetry(b"back")

            ahead = 60.0
            await after_a_cut(2)
            ahead = 120.0
            hub.refuse = [5]
            await after_a_cut(4)
            ahead = 7200.0
            await after_a_cut(5)
    first, again, refused, anew, later = [connect.password for connect in hub.connects]
    assert first == again == refused
    assert len({first, anew, later}) == 3


async def test_a_function_gives_a_token_for_each_connection(hub_and_client: HubOf) -> None:
    asked: list[str] = []

    def tokens(resource: str) -> str:
        asked.append(resource)
        return f"SharedAccessSignature sr=x&sig=y{len(asked)}&se={int(time.time()) + 3600}"

    async with hub_and_client() as (hub, client_of):
        async with client_of(credential=tokens) as client:
            hub.cut()
            await until(lambda: len(hub.connects) == 2)
            await client.send_telemetry(b"back")
    assert len(asked) == 2


async def test_a_function_gives_tokens_and_a_failing_one_is_asked_again(
    hub_and_client: HubOf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mqttws.hub_client.upkeep.RENEWAL_RETRY", 0.01)
    asked: list[str] = []

    async def tokens(resource: str) -> str:
        asked.append(resource)
        if len(asked) == 2:
            raise OSError("the vault is closed")
        return f"SharedAccessSignature sr=x&sig=secret{len(asked)}&se={int(time.time()) + 2}"

    async with hub_and_client() as (hub, client_of):
        async with client_of(credential=tokens):
            await until(lambda: len(hub.connects) == 2)
        assert asked[:2] == ["hub.example/devices/d"] * 2
        assert len(asked) >= 3
        assert "no new token: OSError" in caplog.text
        assert "secret" not in caplog.text


@pytest.mark.parametrize("token", ["", "no token", None, b"SharedAccessSignature sr=x&sig=y&se=1"])
async def test_what_is_no_token_is_told_and_not_shown(hub_and_client: HubOf, token: Any) -> None:
    async with hub_and_client() as (_, client_of):
        with pytest.raises(UsageError, match="its function returned no SAS token") as caught:
            await client_of(credential=lambda resource: token).connect()
        assert "no token" not in str(caught.value).replace("returned no SAS token", "")


class Assigned:
    def __init__(self, hub: str, device_id: str = "d") -> None:
        self.assigned_hub = hub
        self.device_id = device_id


async def test_a_refused_device_asks_dps_and_goes_on_at_the_new_hub(
    hub_and_client: HubOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "mqttws.hub_client")
    async with hub_and_client() as (hub, client_of):
        asked: list[int] = []

        async def provisioning() -> Assigned:
            asked.append(1)
            hub.refuse.clear()
            return Assigned("other.example")

        client = client_of(provisioning=provisioning)
        async with client:
            await client.send_telemetry(b"1")
            hub.refuse = [5] * 100
            hub.cut()
            receipts = [client.send_telemetry_nowait(b"%d" % n) for n in range(2, 10)]
            for receipt in receipts:
                await receipt.wait(10)
            assert client.hub == "other.example"
            assert client.device_id == "d"
        assert asked == [1]
        assert (hub.connects[-1].username or "").startswith("other.example/d/?")
        assert b"sr=other.example%2Fdevices%2Fd&" in (hub.connects[-1].password or b"")
        assert {body for _, body in hub.telemetry} == {b"%d" % n for n in range(1, 10)}
    assert "the device belongs to other.example now" in caplog.text


async def test_the_first_connection_asks_dps_too_and_a_plain_function_will_do(
    hub_and_client: HubOf,
) -> None:
    async with hub_and_client() as (hub, client_of):
        hub.refuse = [5, 5]
        async with client_of(provisioning=lambda: Assigned("other.example")) as client:
            assert client.hub == "other.example"


async def test_dps_is_not_asked_for_ever(hub_and_client: HubOf) -> None:
    async with hub_and_client() as (hub, client_of):
        asked: list[int] = []

        def provisioning() -> Assigned:
            asked.append(1)
            return Assigned("hub.example")

        states: list[Any] = []
        client = client_of(
            provisioning=provisioning,
            provisioning_limit=2,
            on_state=lambda *told: states.append(told),
        )
        async with client:
            hub.refuse = [5] * 100
            hub.cut()
            await until(lambda: client.state is ClientState.CLOSED, 30)
            with pytest.raises(ConnectRefused) as caught:
                await client.send_telemetry(b"1")
            assert "DPS was asked 2 times" in caught.value.__notes__[-1]
            with pytest.raises(ConnectRefused):
                await client.twin()
        assert asked == [1, 1]


async def test_without_provisioning_a_refusal_ends_the_client(hub_and_client: HubOf) -> None:
    async with hub_and_client() as (hub, client_of):
        async with client_of() as client:
            changes, messages = client.desired_changes(), client.messages()
            await changes.next(10)
            hub.refuse = [5] * 100
            hub.cut()
            for waiting in (anext(changes), anext(messages), client.twin()):
                with pytest.raises(ConnectRefused):
                    await waiting


async def test_calls_before_and_after_the_connection_are_refused(hub_and_client: HubOf) -> None:
    async with hub_and_client() as (_, client_of):
        client = client_of()
        for refused in (client.twin(), client.send_telemetry(b""), client.patch_reported({}),
                        anext(client.messages())):  # fmt: skip
            with pytest.raises(UsageError, match="not connected"):
                await refused
        async with client:
            pass
        for refused in (client.twin(), client.send_telemetry(b""), client.patch_reported({})):
            with pytest.raises(UsageError, match="disconnected"):
                await refused
        with pytest.raises(StopAsyncIteration):
            await anext(client.messages())


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"keep_alive": 0}, "keep_alive: found 0; allowed: whole seconds: 1 to 1177"),
        ({"keep_alive": 1178}, "keep_alive: found 1178"),
        ({"transport": "ws"}, "transport: found 'ws'"),
        ({"transport": "auto", "port": 443}, "give no port"),
        ({"token_lifetime": 0}, "token_lifetime: found 0"),
        ({"provisioning": "0ne"}, "provisioning: found '0ne'"),
        ({"credential": None}, "credential: found a NoneType"),
        ({"credential": "HostName=h;DeviceId=d;SharedAccessKey=AAAA"}, "the key is not base64"),
        ({"module_id": "a/b"}, "module id 'a/b'"),
        ({"device_id": ""}, "device_id: found ''"),
        ({"hub": "https://h"}, "hub 'https://h'"),
        ({"hub": 7}, "hub: found 7"),
        ({"will": b"x"}, "will: found bytes of 1 bytes; allowed: a TelemetryMessage"),
        ({"provisioning_limit": 0}, "provisioning_limit: found 0"),
    ],
)
def test_a_wrong_argument_is_told_at_once(options: dict[str, Any], fault: str) -> None:
    given = {"hub": "h", "device_id": "d", "credential": KEY} | options
    with pytest.raises(UsageError, match=fault) as caught:
        AsyncHubClient(**given)
    assert "AAAA" not in str(caught.value)


def test_a_connection_string_makes_a_client() -> None:
    text = f"HostName=h.example;DeviceId=d;ModuleId=m;SharedAccessKey={KEY};GatewayHostName=gate"
    client = AsyncHubClient.from_connection_string(text)
    assert (client.hub, client.device_id, client.module_id) == ("h.example", "d", "m")
    assert client._client.url == "wss://gate:443/$iothub/websocket"
    assert KEY not in repr(client) + repr(client._upkeep.access.__dict__)
    with pytest.raises(UsageError, match="give the certificate as credential"):
        AsyncHubClient.from_connection_string("HostName=h;DeviceId=d;x509=true")
    with pytest.raises(UsageError, match="give no other"):
        AsyncHubClient.from_connection_string(text, KEY)


async def test_a_token_of_a_connection_string_is_used_until_it_expires(
    hub_and_client: HubOf,
) -> None:
    async with hub_and_client() as (hub, client_of):
        from mqttws.hub_client.access import FixedToken

        old = FixedToken("SharedAccessSignature sr=x&sig=secret&se=1000")
        with pytest.raises(UsageError, match="the connection string's token expired") as caught:
            await client_of(credential=old).connect()
        assert "secret" not in str(caught.value) + repr(old)
        good = FixedToken("SharedAccessSignature sr=x&sig=secret&se=9999999999")
        async with client_of(credential=good) as client:
            await client.send_telemetry(b"1")
        assert json.dumps([body.decode() for _, body in hub.telemetry]) == '["1"]'
