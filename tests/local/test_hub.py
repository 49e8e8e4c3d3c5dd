"""After DPS: the device connects to its hub, publishes telemetry and receives a message."""

from typing import Any, Literal

import pytest

from mqttws import (
    Assignment,
    AsyncClient,
    AsyncLocalDps,
    AsyncLocalHub,
    ConnectionLost,
    ConnectRefused,
    SubscribeRefused,
    SymmetricKey,
    TlsConfig,
    UsageError,
    X509Certificate,
    provision_async,
)
from mqttws.hub.topics import devicebound_filter, parse_devicebound_topic, telemetry_topic
from mqttws.local.hub import MAX_WAITING, Telemetry
from mqttws.local.x509 import DeviceAuthority
from mqttws.provisioning.credentials import Credential
from mqttws.wire import Connect, Disconnect, Packet, Publish, encode

from . import x509_world
from .device import device

Transport = Literal["wss", "mqtts"]


def trust(dps: AsyncLocalDps) -> TlsConfig:
    return TlsConfig(ca=dps.ca_file, only_ca=True)


async def provision(dps: AsyncLocalDps, credential: Credential) -> Assignment:
    return await provision_async(
        dps.id_scope, credential, host=dps.host, port=dps.wss_port, tls=trust(dps)
    )


def client(
    hub: AsyncLocalHub,
    dps: AsyncLocalDps,
    assignment: Assignment,
    credential: Credential,
    transport: Transport = "wss",
    **changes: Any,
) -> AsyncClient:
    options = assignment.connect_options(
        credential,
        transport=transport,
        host=hub.host,
        port=hub.wss_port if transport == "wss" else hub.mqtts_port,
        tls=trust(dps),
    )
    return AsyncClient(**(options | changes))  # type: ignore[arg-type]


def credential_for(dps: AsyncLocalDps, kind: str) -> Credential:
    if kind == "key":
        return SymmetricKey("dev", dps.enroll_device("dev"))
    if kind == "group key":
        group_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        keys = {"type": "symmetricKey", "symmetricKey": {"primaryKey": group_key}}
        dps.enroll({"enrollmentGroupId": "fleet", "attestation": keys})
        return SymmetricKey.from_group_key("dev", group_key)
    root = DeviceAuthority.root()
    dps.enroll(x509_world.group("fleet", root))
    issued = root.issue("dev")
    return X509Certificate(issued.chain, issued.key)


@pytest.mark.parametrize("transport", ["wss", "mqtts"])
@pytest.mark.parametrize("kind", ["key", "group key", "certificate"])
async def test_provision_connect_publish_and_receive(
    local_dps: AsyncLocalDps, kind: str, transport: Transport
) -> None:
    async with local_dps as dps, AsyncLocalHub(dps, mqtts_port=0) as hub:
        credential = credential_for(dps, kind)
        assignment = await provision(dps, credential)
        hub.send("dev", b"waited for you", {"number": "1"})
        async with client(hub, dps, assignment, credential, transport) as device:
            properties = {"$.ct": "application/json", "room": "a b"}
            await device.publish(telemetry_topic("dev", properties), b'{"t":21}', qos=1)
            assert await hub.next_telemetry() == Telemetry("dev", b'{"t":21}', properties)
            assert await device.subscribe(devicebound_filter("dev"), qos=1) == [1]
            hub.send("dev", b"hello")
            messages = device.messages()
            first, second = await anext(messages), await anext(messages)
    assert first.payload == b"waited for you"
    parsed = parse_devicebound_topic(first.topic)
    assert parsed is not None
    assert parsed[1]["number"] == "1"
    assert second.payload == b"hello"


async def test_each_connect_signs_a_fresh_token(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps, AsyncLocalHub(dps) as hub:
        credential = credential_for(dps, "key")
        assignment = await provision(dps, credential)
        asked = 0
        password = assignment.connect_options(credential)["password"]
        assert password is not None

        def counted() -> str:
            nonlocal asked
            asked += 1
            return password()

        for _ in range(2):
            device = client(hub, dps, assignment, credential, password=counted)
            await device.connect()
            await device.disconnect()
        assert asked == 2
        assert "skn" not in password()


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "DEV"},
        {"client_id": "other"},
        {"username": "local-hub.azure-devices.net/dev/api-version=2021-04-12"},
        {"username": "elsewhere.azure-devices.net/dev/?api-version=2021-04-12"},
        {"username": "0ne00LOCAL/registrations/dev/api-version=2019-03-31"},
        {"password": "SharedAccessSignature sr=x&sig=y&se=1"},
        {"password": "text"},
        {"password": None},
    ],
)
async def test_who_is_not_right_is_refused(
    local_dps: AsyncLocalDps, changes: dict[str, object]
) -> None:
    async with local_dps as dps, AsyncLocalHub(dps) as hub:
        credential = credential_for(dps, "key")
        assignment = await provision(dps, credential)
        with pytest.raises(ConnectRefused) as refused:
            await client(hub, dps, assignment, credential, **changes).connect()
    assert refused.value.return_code == 5


async def test_a_token_for_dps_does_not_open_the_hub(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps, AsyncLocalHub(dps) as hub:
        credential = SymmetricKey("dev", dps.enroll_device("dev"))
        assignment = await provision(dps, credential)
        expiry = 4_000_000_000
        for token in (
            credential.sign("0ne00LOCAL/registrations/dev", expiry),
            credential.sign(f"{assignment.assigned_hub}/devices/DEV", expiry),
            credential.sign(f"{assignment.assigned_hub}/devices/dev", 1),
        ):
            with pytest.raises(ConnectRefused):
                await client(hub, dps, assignment, credential, password=token).connect()


async def test_telemetry_counts_though_the_device_leaves_right_behind_it(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps as dps, AsyncLocalHub(dps) as hub:
        credential = credential_for(dps, "key")
        options = (await provision(dps, credential)).connect_options(credential)
        packets: list[Packet] = [
            Connect("dev", username=options["username"], password=_password(options)),
            Publish(telemetry_topic("dev"), b"last words"),
            Disconnect(),
            Publish(telemetry_topic("dev"), b"from the grave"),
        ]
        async with device(dps, port=hub.wss_port) as peer:
            await peer.socket.send(b"".join(map(encode, packets)))  # one frame
            await peer.socket.wait_closed()
        assert (await hub.next_telemetry()).payload == b"last words"
        assert hub._telemetry.empty()


def _password(options: Any) -> bytes:
    password = options["password"]
    return str(password() if callable(password) else password).encode()


@pytest.mark.parametrize(
    ("topic", "qos"),
    [
        ("devices/other/messages/events/", 1),
        ("devices/dev/messages/events", 1),
        ("anything", 0),
        ("devices/dev/messages/events/", 2),
    ],
)
async def test_a_wrong_topic_or_qos_2_ends_the_connection(
    local_dps: AsyncLocalDps, topic: str, qos: int
) -> None:
    async with local_dps as dps, AsyncLocalHub(dps) as hub:
        credential = credential_for(dps, "key")
        assignment = await provision(dps, credential)
        async with client(hub, dps, assignment, credential, reconnect=None) as device:
            if qos == 0:
                await device.publish(topic, b"x")
                with pytest.raises(ConnectionLost):
                    await anext(device.messages())
            else:
                with pytest.raises(ConnectionLost):
                    await device.publish(topic, b"x", qos=qos)


async def test_only_documented_filters_are_granted(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps, AsyncLocalHub(dps) as hub:
        credential = credential_for(dps, "key")
        async with client(hub, dps, await provision(dps, credential), credential) as device:
            with pytest.raises(SubscribeRefused):
                await device.subscribe("devices/other/messages/devicebound/#")


async def test_no_more_messages_wait_than_in_the_real_hub(local_dps: AsyncLocalDps) -> None:
    async with local_dps as dps, AsyncLocalHub(dps) as hub:
        for number in range(MAX_WAITING):
            hub.send("dev", str(number).encode())
        with pytest.raises(UsageError):
            hub.send("dev", b"one too many")


def test_what_cannot_sign_is_told() -> None:
    class Stranger:
        registration_id = "dev"

        def password(self, id_scope: str, unix_now: float) -> str:
            return ""

    assignment = Assignment("hub", "dev", "", "dev", "op")
    with pytest.raises(UsageError, match="Stranger"):
        assignment.connect_options(Stranger())  # type: ignore[arg-type]
