"""HubClient, the twin for programs without an event loop: each call, from threads."""

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mqttws import AsyncHubClient, Backoff, HubClient, TlsConfig, UsageError
from mqttws.errors import ConnectRefused, HubRequestRejected, RequestTimedOut
from mqttws.hub.device.methods import MethodRequest, MethodResponse
from mqttws.loop_thread import LoopThread

from ..net.rogue import Certificates
from .conftest import KEY
from .scripted_hub import ScriptedHub, scripted_hub
from .test_hub_client import until


def members(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}


def test_both_clients_have_the_same_members_and_signatures() -> None:
    assert members(HubClient) == members(AsyncHubClient)
    for name in members(HubClient):
        ours, theirs = getattr(HubClient, name), getattr(AsyncHubClient, name)
        if callable(ours) and name != "from_connection_string":
            found = [str(one) for one in inspect.signature(ours).parameters]
            assert found == [str(one) for one in inspect.signature(theirs).parameters], name


async def with_client(
    certificates: Certificates,
    program: Callable[[HubClient, ScriptedHub, Any], None],
    **options: Any,
) -> ScriptedHub:
    """Run a synchronous program in a thread against a hub on this loop."""
    async with scripted_hub(certificates.server(), websocket=True) as hub:
        loop = asyncio.get_running_loop()

        def on_loop(job: Callable[[], Any]) -> Any:
            async def run() -> Any:
                return job()

            return asyncio.run_coroutine_threadsafe(run(), loop).result(10)

        def run() -> None:
            client = HubClient(
                "hub.example",
                "d",
                options.pop("credential", KEY),
                host="127.0.0.1",
                port=hub.port,
                tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
                reconnect=Backoff(0.0, 0.01),
                request_timeout=10.0,
                **options,
            )
            try:
                program(client, hub, on_loop)
            finally:
                client.disconnect()

        await asyncio.to_thread(run)
        return hub


async def test_a_synchronous_program_does_all_of_it(certificates: Certificates) -> None:
    def program(client: HubClient, hub: ScriptedHub, on_loop: Any) -> None:
        messages, changes = client.messages(), client.desired_changes()

        @client.method("echo")
        def echo(request: MethodRequest) -> MethodResponse:
            client.send_telemetry(b"from the handler")  # it may call the client
            return MethodResponse(201, request.payload)

        with client:
            assert client.connected
            client.send_telemetry({"n": 1}, message_id="m")
            receipts = [client.send_telemetry_nowait(b"%d" % n) for n in range(3)]
            for receipt in receipts:
                receipt.wait(10)
                receipt.wait()
                assert receipt.done
            client.send_batch([b"a", b"b"])
            assert client.twin().desired_version == 1
            assert client.patch_reported({"a": 1}) == 2
            assert changes.next(10).version == 1
            on_loop(lambda: hub.patch_desired({"x": 1}))
            assert next(changes).patch == {"x": 1}
            on_loop(lambda: hub.send(b"hello"))
            assert messages.next(10).body == b"hello"
            with pytest.raises(RequestTimedOut):
                messages.next(0.01)
            rid = on_loop(lambda: hub.invoke("echo", [1]))
            asyncio.run(until(lambda: rid in hub.answers))
            assert hub.answers[rid] == [(201, [1])]
            on_loop(lambda: hub.statuses.append(400))
            with pytest.raises(HubRequestRejected):
                client.twin()
        assert list(messages) == []
        assert list(changes) == []
        with pytest.raises(UsageError, match="disconnected"):
            client.send_telemetry(b"")

    hub = await with_client(certificates, program)
    assert [body for _, body in hub.telemetry] == [
        b'{"n":1}', b"0", b"1", b"2", b"a", b"b", b"from the handler",
    ]  # fmt: skip


async def test_manual_acknowledgement_works_from_any_thread(certificates: Certificates) -> None:
    def program(client: HubClient, hub: ScriptedHub, on_loop: Any) -> None:
        messages = client.messages()
        client.connect()
        on_loop(lambda: hub.send(b"1"))
        message = messages.next(10)
        client.send_telemetry(b"a round trip")
        assert len(hub.sessions["d"].outgoing) == 1
        thread = threading.Thread(target=message.ack)
        thread.start()
        thread.join()
        client.send_telemetry(b"a round trip")
        assert not hub.sessions["d"].outgoing

    await with_client(certificates, program, manual_ack=True)


async def test_a_wait_ends_when_another_thread_disconnects(certificates: Certificates) -> None:
    def program(client: HubClient, hub: ScriptedHub, on_loop: Any) -> None:
        messages = client.messages()
        client.connect()
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(list(messages)))
        thread.start()
        client.disconnect()
        thread.join(10)
        assert found == [[]]

    await with_client(certificates, program)


async def test_a_tokens_function_may_block(certificates: Certificates) -> None:
    import time

    def tokens(resource: str) -> str:
        time.sleep(0.05)
        return f"SharedAccessSignature sr={resource}&sig=x&se={int(time.time()) + 60}"

    def program(client: HubClient, hub: ScriptedHub, on_loop: Any) -> None:
        with client:
            client.send_telemetry(b"1")

    hub = await with_client(certificates, program, credential=tokens)
    assert b"sr=hub.example/devices/d&" in (hub.connects[0].password or b"")


async def test_two_clients_share_a_thread(certificates: Certificates) -> None:
    with LoopThread() as thread:

        def program(client: HubClient, hub: ScriptedHub, on_loop: Any) -> None:
            with client:
                client.send_telemetry(b"1")

        for _ in range(2):
            await with_client(certificates, program, thread=thread)


async def test_a_refused_connection_leaves_no_thread(certificates: Certificates) -> None:
    before = set(threading.enumerate())

    def program(client: HubClient, hub: ScriptedHub, on_loop: Any) -> None:
        hub.refuse = [5]
        with pytest.raises(ConnectRefused):
            client.connect()
        client.connect()  # another attempt is possible
        with pytest.raises(UsageError, match="connected once"):
            client.connect()

    await with_client(certificates, program)
    left = [one.name for one in threading.enumerate() if one not in before]
    assert [name for name in left if not name.startswith("asyncio_")] == []  # the loop's own pool


async def test_a_forgotten_client_warns(certificates: Certificates) -> None:
    def program(client: HubClient, hub: ScriptedHub, on_loop: Any) -> None:
        other = HubClient(
            "hub.example", "other", KEY, host="127.0.0.1", port=hub.port,
            tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
        )  # fmt: skip
        other.connect()
        with pytest.warns(ResourceWarning, match="without disconnect"):
            del other

    await with_client(certificates, program)


def test_a_connection_string_makes_a_client() -> None:
    text = f"HostName=h.example;DeviceId=d;SharedAccessKey={KEY}"
    with LoopThread() as thread:
        client = HubClient.from_connection_string(text, thread=thread)
        assert (client.hub, client.device_id, client.module_id) == ("h.example", "d", "")
        assert repr(client) == "<HubClient h.example/devices/d new>"
