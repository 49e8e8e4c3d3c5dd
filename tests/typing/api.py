"""The public names as a program uses them; read by the type checker, never run."""

from typing import assert_type

import mqttws
from mqttws.hub.topics import method_response_topic, parse_method_topic, telemetry_topic
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


def a_device_at_its_hub(
    assignment: mqttws.Assignment, credential: mqttws.SymmetricKey | mqttws.X509Certificate
) -> None:
    with assignment.hub_client(credential, store=mqttws.MemoryStore()) as client:
        assert_type(client, mqttws.HubClient)
        client.send_telemetry({"temperature": 21.5}, properties={"room": "kitchen"})
        assert_type(client.send_telemetry_nowait(b"x"), mqttws.TelemetryReceipt)
        assert_type(client.twin(), mqttws.Twin)
        assert_type(client.patch_reported({"firmware": "1.2"}), int | None)
        assert_type(client.messages(), mqttws.SyncStream[mqttws.CloudMessage])
        for change in client.desired_changes():
            assert_type(change, mqttws.DesiredChange)

        @client.method("reboot")
        def reboot(request: mqttws.MethodRequest) -> mqttws.MethodResponse:
            return mqttws.MethodResponse(200, {"asked": request.name})

        client.on_method("restart", reboot)


async def a_device_at_its_hub_async(assignment: mqttws.Assignment) -> None:
    text = "HostName=h.example;DeviceId=d;SharedAccessKey=a2V5"
    async with mqttws.AsyncHubClient.from_connection_string(text) as client:
        assert_type(client, mqttws.AsyncHubClient)
        assert_type(client.messages(), mqttws.CloudMessageStream)
        assert_type(client.desired_changes(), mqttws.DesiredChanges)
        assert_type(await client.twin(), mqttws.Twin)


def topics_of_a_hub() -> None:
    assert_type(telemetry_topic("d", {"a": "b"}), str)
    call = parse_method_topic("$iothub/methods/POST/reboot/?$rid=1")
    if call is not None:
        assert_type(method_response_topic(200, call.request_id), str)


def a_synchronous_client() -> None:
    with mqttws.Client("wss://broker.example/", store=mqttws.SqliteStore("me.db")) as client:
        client.publish("t", b"x", qos=1)
        client.publish_nowait("t", b"x", qos=1).wait(10)
        assert_type(client.subscribe([("a/#", 1)]), list[int])
        assert_type(client.session_present, bool)
        assert_type(client.state, mqttws.ClientState)
        for message in client.messages("a/#"):
            assert_type(message, mqttws.ReceivedMessage)


def errors_of_stores_and_services(error: Exception) -> None:
    if isinstance(error, mqttws.UnusableFile):
        file: str = error.file
        print(file)
    if isinstance(error, mqttws.StoreFailed | mqttws.PortTaken | mqttws.UsageError):
        assert_type(error.cause, mqttws.Cause)
    if isinstance(error, mqttws.ConnectFailed):
        assert_type(error.retry_after, float | None)
    if isinstance(error, mqttws.CertificateRejected):
        assert_type(error.certificate, mqttws.CertificateFacts | None)


def plain_clients_of_a_hub(assignment: mqttws.Assignment, key: mqttws.SymmetricKey) -> None:
    assert_type(assignment.client(), mqttws.Client)
    assert_type(assignment.client(key, keep_alive=30), mqttws.Client)
    assert_type(assignment.client_async(), mqttws.AsyncClient)


def a_local_hub() -> None:
    with mqttws.LocalDps() as dps, mqttws.LocalHub(dps) as hub:
        assert_type(hub.create_device("my-device"), str)
        assert_type(hub.connection_string("my-device"), str)
        assert_type(hub.next_telemetry().payload, bytes)
        assert_type(hub.invoke("my-device", "reboot").status, int)
