"""The local DPS as its devices meet it: its rules, and everything that breaks them."""

import asyncio
import json
import logging
import ssl
import warnings
from collections.abc import Awaitable, Callable

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mqttws import (
    AsyncLocalDps,
    ConnectRefused,
    PortTaken,
    RegistrationFailed,
    RegistrationRejected,
    SymmetricKey,
    TlsConfig,
    provision_async,
)
from mqttws.dps.sas import sign_token
from mqttws.local import device as device_module
from mqttws.local import listening
from mqttws.wire import (
    ConnAck,
    Disconnect,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    UnsubAck,
    Unsubscribe,
    encode,
)

from .device import REGISTER, RESPONSES, Device, device, hello, register, trusting, wish

OTHER_KEY = (
    "Pz49PDs6OTg3NjU0MzIxMC8uLSwrKikoJyYlJCMiISAfHh0cGxoZGBcWFRQTEhEQDw4NDAsKCQgHBgUEAwIBAA=="
)


async def provisioned(dps: AsyncLocalDps, key: str, **options: object) -> object:
    fields: dict[str, object] = {
        "host": "127.0.0.1",
        "port": dps.wss_port,
        "tls": TlsConfig(ca=dps.ca_file),
    }
    return await provision_async(
        str(options.pop("id_scope", dps.id_scope)),
        SymmetricKey(str(options.pop("registration_id", "dev")), key),
        **(fields | options),  # type: ignore[arg-type]
    )


async def ready(dps: AsyncLocalDps, peer: Device, key: str, **changes: object) -> None:
    """Connect and subscribe."""
    await peer.send(hello(dps, "dev", key, **changes))
    assert await peer.receive() == ConnAck(False, 0)
    await peer.send(wish())
    assert await peer.receive() == SubAck(1, [1])


async def closed_by_service(peer: Device) -> int | None:
    """Wait for the end of the connection; return the close code."""
    try:
        while True:
            await peer.receive()
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd is not None else None


# What a device does right


@pytest.mark.rule("DPS-T17/service")
async def test_puback_comes_before_the_answer(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            await ready(dps, peer, key)
            await peer.send(register())
            assert await peer.receive() == PubAck(2)
            answer = await peer.receive()
    assert isinstance(answer, Publish)
    assert answer.topic == "$dps/registrations/res/202/?$rid=1&retry-after=0"
    assert (answer.qos, answer.retain, answer.dup) == (1, False, False)


@pytest.mark.rule("MQTT-3.2.2-3", "MQTT-3.1.2-4", "DPS-T1/service")
async def test_clean_session_0_is_accepted_and_no_session_is_kept(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        for _ in range(2):
            async with device(dps) as peer:
                await peer.send(hello(dps, "dev", key, clean_session=False))
                assert await peer.receive() == ConnAck(False, 0)
                await peer.send(register(qos=0))  # the earlier subscription is gone: no answer
                await peer.send(PingReq())
                assert await peer.receive() == PingResp()
                await peer.send(wish())
                assert await peer.receive() == SubAck(1, [1])


async def test_a_subscription_at_qos_2_is_granted_1_and_at_0_is_served_at_0(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            await peer.send(hello(dps, "dev", key), wish(qos=2))
            assert await peer.receive() == ConnAck(False, 0)
            assert await peer.receive() == SubAck(1, [1])
            await peer.send(wish(qos=0), register(qos=0))
            assert await peer.receive() == SubAck(1, [0])
            answer = await peer.receive()
    assert isinstance(answer, Publish)
    assert answer.qos == 0


@pytest.mark.rule("WS-7", "WS-9", "WS-69", "DPS-T13/service")
@pytest.mark.parametrize("path", ["/", "/$iothub/websocket", "/?x=1", "/$iothub/websocket?a=b&c"])
@pytest.mark.parametrize("subprotocol", ["mqtt", "MQTT"])
async def test_both_paths_with_any_query_serve_and_the_token_is_echoed_as_offered(
    local_dps: AsyncLocalDps, path: str, subprotocol: str
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps, path=path, subprotocol=subprotocol) as peer:
            assert peer.socket.subprotocol == subprotocol
            await ready(dps, peer, key)


@pytest.mark.rule("WS-33", "DPS-T24/service")
async def test_compression_is_declined(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        async with device(dps) as peer:
            assert peer.socket.request is not None
            assert peer.socket.response is not None
            assert "Sec-WebSocket-Extensions" in peer.socket.request.headers
            assert "Sec-WebSocket-Extensions" not in peer.socket.response.headers


@pytest.mark.rule("MQTT-6.0.0-2", "WS-3", "DPS-T14/service")
async def test_a_packet_in_frames_of_one_byte_is_a_packet(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            for packet in (hello(dps, "dev", key), wish(), register()):
                for byte in encode(packet):
                    await peer.socket.send(bytes((byte,)))
            for expected in (ConnAck(False, 0), SubAck(1, [1]), PubAck(2)):
                assert await peer.receive() == expected


@pytest.mark.rule("U-16", "DPS-T15/service")
async def test_keep_alive_0_is_no_time_out(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            await ready(dps, peer, key, keep_alive=0)
            await peer.send(PingReq())
            assert await peer.receive() == PingResp()


@pytest.mark.rule("DPS-T9/service")
async def test_after_a_401_the_service_serves_until_the_device_leaves(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        await dps.enroll_device("dev")
        async with device(dps) as peer:
            await ready(dps, peer, OTHER_KEY)
            await peer.send(register())
            assert await peer.receive() == PubAck(2)
            answer = await peer.receive()
            assert isinstance(answer, Publish)
            assert answer.topic.startswith("$dps/registrations/res/401/?$rid=1")
            assert json.loads(answer.payload)["errorCode"] == 401000
            await peer.send(PubAck(answer.packet_id or 0), Unsubscribe(3, [RESPONSES]))
            assert await peer.receive() == UnsubAck(3)
            await peer.send(Disconnect())


@pytest.mark.rule("MQTT-3.1.4-2", "MQTT-3.1.3-2")
async def test_a_second_connection_of_a_device_ends_the_first(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as first, device(dps) as second:
            await ready(dps, first, key)
            await ready(dps, second, key, client_id="DEV")
            await closed_by_service(first)
            await second.send(PingReq())
            assert await second.receive() == PingResp()
    assert "taken over by another client with this id, on connection #2 wss" in caplog.text


async def test_a_password_may_be_missing_until_something_is_asked(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            await ready(dps, peer, key, password=None)
            await peer.send(register(qos=0))
            answer = await peer.receive()
    assert isinstance(answer, Publish)
    assert "/401/" in answer.topic


# What the client is told


@pytest.mark.rule("DPS-T6/service", "DPS-T6/device")
async def test_an_unknown_scope_is_connack_3(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        with pytest.raises(ConnectRefused) as caught:
            await provisioned(dps, key, id_scope="0ne00OTHER")
        assert caught.value.return_code == 3
        assert "wrong id scope" in caught.value.hint


@pytest.mark.rule("DPS-T5/service", "DPS-T5/device", "DPS-S401/device")
@pytest.mark.operation("Device API: symmetric keys")
async def test_a_wrong_key_is_401_at_register(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        await dps.enroll_device("dev")
        with pytest.raises(RegistrationRejected) as caught:
            await provisioned(dps, OTHER_KEY)
    assert (caught.value.status, caught.value.error_code) == (401, 401000)
    assert caught.value.tracking_id
    assert "key" in caught.value.hint


@pytest.mark.rule("DPS-B-se/service", "DPS-B-se/device")
async def test_an_expired_token_is_401_and_the_log_says_so(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture
) -> None:
    class Expired(SymmetricKey):
        def password(self, id_scope: str, unix_now: float, lifetime: int = 3600) -> str:
            return super().password(id_scope, unix_now - 7200, lifetime)

    caplog.set_level("INFO", "mqttws.local")
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        with pytest.raises(RegistrationRejected) as caught:
            await provision_async(
                dps.id_scope,
                Expired("dev", key),
                host="127.0.0.1",
                port=dps.wss_port,
                tls=TlsConfig(ca=dps.ca_file),
            )
    assert caught.value.status == 401
    assert "clock" in caught.value.hint
    assert "expired" in caplog.text


@pytest.mark.rule("DPS-S404/device")
async def test_an_unknown_registration_is_404(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        with pytest.raises(RegistrationRejected) as caught:
            await provisioned(dps, OTHER_KEY, registration_id="nobody")
    assert (caught.value.status, caught.value.error_code) == (404, 404201)


@pytest.mark.rule("DPS-T12/device", "DPS-S200-disabled/device")
async def test_a_disabled_enrollment_is_an_error_that_carries_the_state(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        await dps.enroll(
            {
                "registrationId": "dev",
                "provisioningStatus": "disabled",
                "attestation": {
                    "type": "symmetricKey",
                    "symmetricKey": {"primaryKey": OTHER_KEY, "secondaryKey": OTHER_KEY},
                },
            }
        )
        with pytest.raises(RegistrationFailed) as caught:
            await provisioned(dps, OTHER_KEY)
    assert caught.value.state == "disabled"


@pytest.mark.rule("DPS-T20/device")
@pytest.mark.parametrize("transport", ["wss", "mqtts"])
async def test_a_payload_may_be_sent_and_case_does_not_matter(
    local_dps: AsyncLocalDps, transport: str
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        port = dps.wss_port if transport == "wss" else dps.mqtts_port
        await provisioned(
            dps,
            key,
            registration_id="DEV",
            payload={"modelId": "dtmi:x;1"},
            transport=transport,
            port=port,
        )


# What a device does wrong: (name, what it does, the close code that it sees or None)

Misdeed = Callable[[AsyncLocalDps, Device, str], Awaitable[None]]


async def undocumented_topic(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await ready(dps, peer, key)
    await peer.send(register(topic="devices/dev/messages/events/"))


async def undocumented_filter(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await peer.send(hello(dps, "dev", key), wish("#"))
    assert await peer.receive() == ConnAck(False, 0)
    assert await peer.receive() == SubAck(1, [0x80])


async def plus_for_hash(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await peer.send(hello(dps, "dev", key), wish("$dps/registrations/res/+"))
    assert await peer.receive() == ConnAck(False, 0)
    assert await peer.receive() == SubAck(1, [0x80])


async def publish_at_qos_2(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await ready(dps, peer, key)
    await peer.send(Publish(REGISTER, b"", 2, packet_id=9))


async def text_frame(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await ready(dps, peer, key)
    await peer.socket.send("text")


async def oversize_message(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await ready(dps, peer, key)
    await peer.send(register(b" " * 200_000))


async def announced_oversize(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await ready(dps, peer, key)
    await peer.socket.send(b"\x30\xff\xff\xff\x7f")


async def huge_frame(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await ready(dps, peer, key)
    await peer.socket.send(bytes(1_000_000))


async def garbage(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await peer.socket.send(b"\x00\x01\x02\x03")


async def publish_first(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await peer.send(register())


async def connect_twice(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await ready(dps, peer, key)
    await peer.send(hello(dps, "dev", key))


async def wrong_scope(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await peer.send(hello(dps, "dev", key, username="0ne0/registrations/dev/api-version=1"))
    assert await peer.receive() == ConnAck(False, 3)


async def no_username(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await peer.send(hello(dps, "dev", key, username=None, password=None))
    assert await peer.receive() == ConnAck(False, 5)


async def other_client_id(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    await peer.send(hello(dps, "dev", key, client_id="other"))
    assert await peer.receive() == ConnAck(False, 5)


async def level_5(dps: AsyncLocalDps, peer: Device, key: str) -> None:
    connect = bytearray(encode(hello(dps, "dev", key)))
    connect[connect.index(b"MQTT") + 4] = 5
    await peer.socket.send(bytes(connect))
    assert await peer.receive() == ConnAck(False, 1)


MISDEEDS: list[tuple[Misdeed, int | None]] = [
    (undocumented_topic, 1008),
    (undocumented_filter, 1008),
    (plus_for_hash, 1008),
    (publish_at_qos_2, 1008),
    (text_frame, 1003),
    (oversize_message, 1009),
    (announced_oversize, 1009),
    (huge_frame, 1009),
    (garbage, 1008),
    (publish_first, 1008),
    (connect_twice, 1008),
    (wrong_scope, 1000),
    (no_username, 1000),
    (other_client_id, 1000),
    (level_5, 1008),
]


@pytest.mark.rule(
    "WS-61", "WS-68", "MQTT-4.8.0-1", "MQTT-3.2.2-5", "MQTT-3.3.5-2", "DPS-B-oversize/service"
)
@pytest.mark.parametrize(
    ("misdeed", "code"), MISDEEDS, ids=[misdeed.__name__ for misdeed, _ in MISDEEDS]
)
async def test_a_misdeed_ends_the_connection_in_one_line_and_the_service_goes_on(
    local_dps: AsyncLocalDps, misdeed: Misdeed, code: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            await misdeed(dps, peer, key)
            assert await closed_by_service(peer) == code
        lines = [record.getMessage() for record in caplog.records if record.name == "mqttws.local"]
        assert sum("closed:" in line for line in lines) == 1
        assert all("\n" not in line and len(line) < 400 for line in lines)
        assert key not in caplog.text
        assert await provisioned(dps, key)


# What never comes to MQTT


async def test_a_wrong_path_is_404(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        with pytest.raises(InvalidStatus) as caught:
            async with device(dps, path="/mqtt"):
                pass
    assert caught.value.response.status_code == 404


@pytest.mark.rule("WS-32")
@pytest.mark.operation("Device API: AMQP over WebSocket")
@pytest.mark.parametrize(
    ("offered", "told"),
    [
        ("AMQPWSB10", "the subprotocol is mqtt, not 'AMQPWSB10'; AMQP is not served here: use"),
        ("soap", "the subprotocol is mqtt, not 'soap'"),
    ],
)
async def test_another_subprotocol_is_400(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture, offered: str, told: str
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with local_dps as dps:
        with pytest.raises(InvalidStatus) as caught:
            async with device(dps, subprotocol=offered):
                pass
    assert caught.value.response.status_code == 400
    assert told in caught.value.response.body.decode()
    assert told in caplog.text


async def raw(dps: AsyncLocalDps, request: bytes, *, tls: bool = True) -> bytes:
    """Send bytes to the WSS port and return all that comes back."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", dps.wss_port, ssl=trusting(dps) if tls else None
    )
    writer.write(request)
    try:
        return await reader.read()
    except (ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.close()


def request(*changes: tuple[str, str]) -> bytes:
    """Return an opening handshake with some headers changed, or left out where empty."""
    headers = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "mqtt",
    } | dict(changes)
    lines = [f"{name}: {value}" for name, value in headers.items() if value]
    return "\r\n".join(["GET /$iothub/websocket HTTP/1.1", *lines, "", ""]).encode()


@pytest.mark.rule("WS-27", "WS-28", "WS-31", "WS-32")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(("Sec-WebSocket-Protocol", "")), b"400"),
        (request(("Sec-WebSocket-Key", "")), b"400"),
        (request(("Sec-WebSocket-Version", "8")), b"400"),
        (request(("Upgrade", "")), b"426"),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"40"),
        (b"not http at all\r\n\r\n", b"400"),
    ],
    ids=["no-subprotocol", "no-key", "version-8", "no-upgrade", "post", "no-http"],
)
async def test_a_request_that_is_no_upgrade_for_mqtt_is_answered_with_an_error(
    local_dps: AsyncLocalDps, sent: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with local_dps as dps:
        assert (await raw(dps, sent)).startswith(b"HTTP/1.1 " + status)
        assert await provisioned(dps, await dps.enroll_device("dev"))
    assert sum("upgrade:" in record.getMessage() for record in caplog.records) == 1


async def test_no_tls_no_service(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with local_dps as dps:
        answer = await raw(dps, request(), tls=False)
        assert b"HTTP" not in answer
        assert await provisioned(dps, await dps.enroll_device("dev"))
    assert sum("tls:" in record.getMessage() for record in caplog.records) == 1


async def test_tls_1_1_is_refused(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        context = trusting(dps)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", dps.wss_port, ssl=context)


@pytest.mark.rule("U-11")
@pytest.mark.parametrize("until", ["tcp", "tls", "upgrade"])
async def test_a_device_that_says_nothing_is_let_go(
    local_dps: AsyncLocalDps, until: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HANDSHAKE_TIMEOUT", 0.2)
    async with local_dps as dps:
        if until == "upgrade":
            async with device(dps) as peer:
                await closed_by_service(peer)
        else:
            async with asyncio.timeout(20):
                await raw(dps, b"", tls=until == "tls")


# The program around it


async def test_a_taken_port_is_told(local_dps: AsyncLocalDps, dps_state: object) -> None:
    async with local_dps as dps:
        second = AsyncLocalDps(wss_port=dps.wss_port, state=dps_state)  # type: ignore[arg-type]
        with pytest.raises(PortTaken, match="in use") as caught:
            await second.start()
        assert caught.value.hint


async def test_devices_that_are_connected_when_it_stops_are_let_go(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            await ready(dps, peer, key)
            await dps.stop()
            assert await closed_by_service(peer) == 1001


async def test_a_hundred_devices_register_at_once(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        keys = {f"dev-{number}": await dps.enroll_device(f"dev-{number}") for number in range(100)}
        found = await asyncio.gather(
            *(provisioned(dps, key, registration_id=name) for name, key in keys.items())
        )
        assert {assignment.device_id for assignment in found} == set(keys)  # type: ignore[attr-defined]


@pytest.mark.rule("DPS-B-other-token/service")
async def test_a_token_for_another_device_is_401(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mqttws.local")
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        from mqttws.dps.sas import decode_key

        token = sign_token(f"{dps.id_scope}/registrations/other", decode_key(key), 4_000_000_000)
        async with device(dps) as peer:
            await ready(dps, peer, key, password=token.encode())
            await peer.send(register(qos=0))
            answer = await peer.receive()
    assert isinstance(answer, Publish)
    assert "/401/" in answer.topic
    assert token not in caplog.text


async def test_a_device_that_acknowledges_nothing_is_let_go(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            await ready(dps, peer, key)
            for _ in range(device_module.MAX_UNACKNOWLEDGED + 1):
                await peer.send(register(qos=0))
            assert await closed_by_service(peer) == 1008


async def test_a_close_reason_forges_no_log_line(
    local_dps: AsyncLocalDps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            await ready(dps, peer, key)
            await peer.socket.close(4000, "bye\nforged: \x1b[31m")
        while "closed:" not in caplog.text:
            await asyncio.sleep(0.01)
    assert "\x1b" not in caplog.text
    assert all("\n" not in record.getMessage() for record in caplog.records)


@pytest.mark.rule("DPS-S400/service", "DPS-B-json/service")
async def test_malformed_json_is_400(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps:
        key = await dps.enroll_device("dev")
        async with device(dps) as peer:
            await ready(dps, peer, key)
            await peer.send(register(b"{not json", qos=0))
            answer = await peer.receive()
            assert isinstance(answer, Publish)
            assert "/400/" in answer.topic
            assert json.loads(answer.payload)["message"]
