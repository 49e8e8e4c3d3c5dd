"""The public names as a program uses them; read by the type checker, never run."""

from typing import assert_type

import mqttws
from mqttws.protocol import ClientProtocol, ConnectionClosed, Event, MessageReceived, Session
from mqttws.wire import Connect, Decoder, Packet, Publish, Subscription, decode, encode


def provisioning() -> None:
    credential = mqttws.SymmetricKey("my-device", b"key")
    assignment = mqttws.provision("0ne00ABCDEF", credential)
    assert_type(assignment, mqttws.Assignment)
    assert_type(assignment.assigned_hub, str)
    assert_type(assignment.device_id, str)


async def provisioning_async() -> None:
    credential = mqttws.SymmetricKey.from_group_key("my-device", b"key")
    try:
        assert_type(await mqttws.provision_async("0ne00ABCDEF", credential), mqttws.Assignment)
    except mqttws.RegistrationRejected as error:
        assert_type(error.status, int)
        assert_type(error.hint, str)
    except mqttws.ConnectFailed as error:
        assert_type(error.hop, mqttws.Hop)


async def provisioning_steps() -> None:
    credential = mqttws.SymmetricKey("my-device", b"key")
    async with mqttws.ProvisioningSteps("0ne00ABCDEF", credential, timeout=30.0) as steps:
        async for step in steps:
            assert_type(step, mqttws.Step)
    assert_type(steps.assignment, mqttws.Assignment)


async def client() -> None:
    async with mqttws.AsyncClient(
        "wss://broker.example/mqtt", will=mqttws.Will("gone", b"x"), tls=mqttws.TlsConfig()
    ) as connected:
        await connected.subscribe("sensors/#", qos=1)
        await connected.publish("sensors/a", b"21.5", qos=1)
        async for message in connected.messages():
            assert_type(message, mqttws.ReceivedMessage)
            assert_type(message.topic, str)
            assert_type(message.payload, bytes)


async def service() -> None:
    async with mqttws.AsyncLocalDps() as dps:
        assert_type(dps, mqttws.AsyncLocalDps)


def codec() -> None:
    assert_type(encode(Publish("t", b"x")), bytes)
    assert_type(decode(b"\xc0\x00"), Packet)
    decoder = Decoder(max_packet_size=1024)
    decoder.feed(b"")
    assert_type(decoder.next_packet(), Packet | None)


def protocol() -> None:
    end = ClientProtocol(Connect("c"), session=Session())
    end.connect(0.0)
    assert_type(end.publish("t", qos=1), int | None)
    assert_type(end.subscribe([Subscription("t", 1)]), int)
    event = end.next_event()
    assert_type(event, Event | None)
    if isinstance(event, MessageReceived):
        assert_type(event.packet_id, int | None)
    elif isinstance(event, ConnectionClosed):
        assert_type(event.error, mqttws.MqttwsError | None)


def doctor() -> None:
    report = mqttws.diagnose("dps.example", proxy=mqttws.ProxyConfig(login=ask), timeout=5.0)
    assert_type(report, mqttws.Report)
    assert_type(report.hop, mqttws.Hop | None)
    assert_type(report.exit_code, int)


def ask(proxy: str) -> mqttws.Login:
    return mqttws.Login("user", "password")


def answer(challenge: mqttws.Challenge) -> str | None:
    assert_type(challenge.offers, tuple[str, ...])
    return None


def ways_through_a_network() -> None:
    mqttws.AsyncClient("wss://broker.example/", proxy=None)
    mqttws.AsyncClient("wss://broker.example/", proxy="http://proxy.example:3128")
    mqttws.AsyncClient(["mqtts://broker.example", "wss://broker.example/"])
    mqttws.Client("wss://broker.example/", client_id="me", store=mqttws.SqliteStore("me.db"))
    mqttws.Client("wss://broker.example/", keep_alive="60")  # type: ignore[arg-type]
    mqttws.ProxyConfig("http://proxy.example:3128", on_challenge=answer)
    mqttws.TlsConfig(ca="ca.pem", certificate=b"", key=b"", key_password="x", truststore=True)


def synchronous_service_and_fleet() -> None:
    with mqttws.LoopThread() as thread, mqttws.LocalDps(thread=thread) as dps:
        key = dps.enroll_device("my-device")
        assert_type(key, str)
        credential = mqttws.SymmetricKey("my-device", key)
        mqttws.provision(dps.id_scope, credential, **dps.options)

        def on_result(result: mqttws.FleetResult) -> None:
            assert_type(result.assignment, mqttws.Assignment | None)

        mqttws.provision_fleet(dps.id_scope, [credential], on_result, concurrency=5)
        mqttws.Client("wss://broker.example/", thread=thread, reconnect=None)
        mqttws.Client("wss://broker.example/", reconnect=5)  # type: ignore[arg-type]


def errors_as_data(error: mqttws.MqttwsError) -> None:
    assert_type(error.hop, mqttws.Hop | None)
    assert_type(error.cause, mqttws.Cause)
    assert_type(error.party, mqttws.Party | None)
    assert_type(error.retryable, bool)
    assert_type(error.hint, str)
    assert_type(error.exit_code, int)
