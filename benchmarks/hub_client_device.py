"""The device program of ``benchmarks.hub_client``: it answers each line with another.

It loads what a device program needs, and nothing of the benchmark: its memory is compared.
"""

import gc
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

PARTS = {"content_type": "application/json", "content_encoding": "utf-8"}


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


class Ours:
    """The device program on ``mqttws.HubClient``."""

    def __init__(self, connection_string: str, ca: str) -> None:
        import threading

        from mqttws import Backoff, HubClient, TlsConfig

        self.back = threading.Event()
        client = self.client = HubClient.from_connection_string(
            connection_string,
            transport="mqtts",
            tls=TlsConfig(ca=ca, only_ca=True),
            reconnect=Backoff(0.01, 0.01),  # as fast as the SDK
            on_state=lambda state, _: self.back.set() if state.value == "connected" else None,
        )
        client.on_method("reboot", lambda request: {"done": True})
        messages, changes = client.messages(), client.desired_changes()
        client.connect()
        threading.Thread(target=lambda: list(messages), daemon=True).start()
        threading.Thread(target=lambda: list(changes), daemon=True).start()

    def send(self, body: bytes) -> None:
        self.client.send_telemetry(body, **PARTS)

    def wait(self) -> None:
        if not self.back.wait(30):
            raise TimeoutError("no reconnect within 30 s")

    def end(self) -> None:
        self.client.disconnect()


class Theirs:
    """The device program on azure-iot-device."""

    def __init__(self, connection_string: str, ca: str) -> None:
        import threading

        from azure.iot.device import IoTHubDeviceClient, Message, MethodResponse

        self.back = threading.Event()
        self.message = Message
        client = self.client = IoTHubDeviceClient.create_from_connection_string(
            connection_string, server_verification_cert=Path(ca).read_text()
        )

        def on_method(request: Any) -> None:
            client.send_method_response(
                MethodResponse.create_from_method_request(request, 200, {"done": True})
            )

        client.on_connection_state_change = lambda: self.back.set() if client.connected else None
        client.connect()
        client.on_method_request_received = on_method
        client.on_message_received = lambda message: None
        client.on_twin_desired_properties_patch_received = lambda patch: None
        client.get_twin()

    def send(self, body: bytes) -> None:
        self.client.send_message(with_parts(self.message(body)))

    def wait(self) -> None:
        if not self.back.wait(30):
            raise TimeoutError("no reconnect within 30 s")

    def end(self) -> None:
        self.client.shutdown()


def with_parts(message: Any) -> Any:
    message.content_type, message.content_encoding = PARTS.values()
    return message


class AsyncOurs:
    """The device program on ``mqttws.AsyncHubClient``."""

    async def start(self, connection_string: str, ca: str) -> None:
        from mqttws import AsyncHubClient, Backoff, TlsConfig

        self.back = asyncio.Event()
        client = self.client = AsyncHubClient.from_connection_string(
            connection_string,
            transport="mqtts",
            tls=TlsConfig(ca=ca, only_ca=True),
            reconnect=Backoff(0.01, 0.01),
            on_state=lambda state, _: self.back.set() if state.value == "connected" else None,
        )
        client.on_method("reboot", self.reboot)
        self.readers = [
            asyncio.create_task(self.read(stream))
            for stream in (client.messages(), client.desired_changes())
        ]
        await client.connect()

    async def reboot(self, request: Any) -> Any:
        return {"done": True}

    async def read(self, stream: Any) -> None:
        while not self.client.connected:
            await asyncio.sleep(0.001)
        async for _ in stream:
            pass

    async def send(self, body: bytes) -> None:
        await self.client.send_telemetry(body, **PARTS)

    async def end(self) -> None:
        await self.client.disconnect()
        await asyncio.gather(*self.readers)


class AsyncTheirs:
    """The device program on azure-iot-device's asyncio client."""

    async def start(self, connection_string: str, ca: str) -> None:
        from azure.iot.device import Message, MethodResponse
        from azure.iot.device.aio import IoTHubDeviceClient

        self.back = asyncio.Event()
        self.message = Message
        trusted = Path(ca).read_text()  # noqa: ASYNC240 - at the start, as programs do
        client = self.client = IoTHubDeviceClient.create_from_connection_string(
            connection_string, server_verification_cert=trusted
        )

        async def on_method(request: Any) -> None:
            await client.send_method_response(
                MethodResponse.create_from_method_request(request, 200, {"done": True})
            )

        async def ignore(message: Any) -> None:
            pass

        loop = asyncio.get_running_loop()

        async def on_state() -> None:  # the SDK runs it on a loop of its own, in another thread
            if client.connected:
                loop.call_soon_threadsafe(self.back.set)

        client.on_connection_state_change = on_state
        await client.connect()
        client.on_method_request_received = on_method
        client.on_message_received = ignore
        client.on_twin_desired_properties_patch_received = ignore
        await client.get_twin()

    async def send(self, body: bytes) -> None:
        await self.client.send_message(with_parts(self.message(body)))

    async def end(self) -> None:
        await self.client.shutdown()


def device(library: str) -> None:
    """Be the synchronous device: send a first message, then do what the lines say."""
    place = json.loads(sys.stdin.readline())
    made = (Ours if library == "mqttws" else Theirs)(place["connection_string"], place["ca"])
    made.send(b'{"first":true}')
    say("first")
    for line in sys.stdin:
        match json.loads(line):
            case ["telemetry", count]:
                before = cpu()
                for number in range(count):
                    made.send(b'{"n":%d}' % number)
                say((cpu() - before) / count * 1e6)
            case ["reconnect", count]:
                before = cpu()
                for _ in range(count):
                    made.back.clear()
                    say("cut")
                    made.wait()
                    made.send(b'{"back":true}')
                say((cpu() - before) / count * 1e3)
            case ["resident"]:
                gc.collect()
                time.sleep(1.0)
                say(resident())
    made.end()


async def async_device(library: str) -> None:
    """Be the asyncio device."""

    async def heard() -> Any:
        line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        return json.loads(line) if line else None

    place = json.loads(sys.stdin.readline())
    made = AsyncOurs() if library == "mqttws" else AsyncTheirs()
    await made.start(place["connection_string"], place["ca"])
    await made.send(b'{"first":true}')
    say("first")
    while (asked := await heard()) is not None:
        match asked:
            case ["telemetry", count]:
                before = cpu()
                for number in range(count):
                    await made.send(b'{"n":%d}' % number)
                say((cpu() - before) / count * 1e6)
            case ["reconnect", count]:
                before = cpu()
                for _ in range(count):
                    made.back.clear()
                    say("cut")
                    async with asyncio.timeout(30):
                        await made.back.wait()
                    await made.send(b'{"back":true}')
                say((cpu() - before) / count * 1e3)
            case ["resident"]:
                gc.collect()
                await asyncio.sleep(1.0)
                say(resident())
    await made.end()


if __name__ == "__main__":
    LIBRARY, STYLE = sys.argv[1:]
    if STYLE == "asyncio":
        import asyncio  # for the classes above too; a synchronous program need not load it

        asyncio.run(async_device(LIBRARY))
    else:
        device(LIBRARY)
