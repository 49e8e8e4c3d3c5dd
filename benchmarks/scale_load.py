"""Lean devices for ``benchmarks.scale``: sockets, TLS and packets made beforehand, nothing more.

``python -m benchmarks.scale_load`` reads one line of JSON with a plan, waits for a second line, and
lets the devices register; it prints one line with the milliseconds from the TCP connect to
``assigned``. With ``hold`` they stay connected until standard input ends.
"""

import asyncio
import hashlib
import hmac
import json
import resource
import ssl
import sys
import time
from base64 import b64decode, b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mqttws import SymmetricKey
from mqttws.dps.names import build_username
from mqttws.dps.topics import RESPONSE_FILTER, poll_topic, register_topic
from mqttws.net.stream import limit_tls_buffers
from mqttws.wire import (
    Connect,
    Decoder,
    Disconnect,
    Publish,
    Subscribe,
    Subscription,
    encode,
)

TIMEOUT = 180.0
"""Seconds for one registration."""


def derived(key: str, name: str) -> str:
    """Return a device's key from its group's."""
    return b64encode(hmac.digest(b64decode(key), name.encode(), hashlib.sha256)).decode()


class Load:
    """Devices that register.

    Args:
        plan: ``port``, ``ca``, ``scope``, ``names``, ``key`` or ``group_key`` or ``pems``,
            ``at_once``.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.contexts = [self._context()]
        self.greetings = [self._greeting(name) for name in plan["names"]]
        if "pems" in plan:
            with TemporaryDirectory() as folder:
                file = Path(folder, "device.pem")
                self.contexts = []
                for pem in plan["pems"]:
                    file.write_text(pem)
                    self.contexts.append(self._context())
                    self.contexts[-1].load_cert_chain(file)
        self.kept: list[Any] = []

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.plan["ca"])
        context.check_hostname = False
        return context

    def _greeting(self, name: str) -> bytes:
        plan = self.plan
        password = None
        if "pems" not in plan:
            key = plan["key"] if "key" in plan else derived(plan["group_key"], name)
            password = SymmetricKey(name, key).password(plan["scope"], time.time()).encode()
        username = build_username(plan["scope"], name)
        return b"".join(
            encode(packet)
            for packet in (
                Connect(name, username=username, password=password, keep_alive=900),
                Subscribe(1, [Subscription(RESPONSE_FILTER, 0)]),
                Publish(register_topic("1"), b""),
            )
        )

    async def register(self, number: int) -> float:
        """Register a device; return the milliseconds that it took."""
        context = self.contexts[number % len(self.contexts)]
        began = time.perf_counter()
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.plan["port"], ssl=context, ssl_handshake_timeout=TIMEOUT
            )
            writer.write(self.greetings[number])
            decoder = Decoder()
            while True:
                packet = decoder.next_packet()
                if packet is None:
                    data = await reader.read(65536)
                    if not data:
                        raise ConnectionError("the service has closed the connection")
                    decoder.feed(data)
                elif isinstance(packet, Publish):
                    status = packet.topic.split("/")[3]
                    if status == "200":
                        break
                    if status != "202":
                        raise ConnectionError(f"{status}: {packet.payload!r}")
                    found = json.loads(packet.payload)["operationId"]
                    writer.write(encode(Publish(poll_topic("2", found), b"")))
        took = (time.perf_counter() - began) * 1000
        if self.plan.get("hold"):
            self.kept.append((reader, writer))
        else:
            writer.write(encode(Disconnect()))
            writer.transport.close()
        return took

    async def run(self) -> dict[str, Any]:
        """Let all register, so many at once."""
        numbers = iter(range(len(self.greetings)))
        times: list[float] = []
        errors: list[str] = []

        async def work() -> None:
            for number in numbers:
                try:
                    times.append(await self.register(number))
                except (OSError, TimeoutError) as error:
                    errors.append(f"{type(error).__name__}: {error}")

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(self.plan["at_once"])))
        return {"seconds": time.perf_counter() - began, "times": times, "errors": errors}


async def main() -> None:
    """Do as standard input says."""
    loop = asyncio.get_running_loop()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit_tls_buffers()
    plan = await loop.run_in_executor(None, sys.stdin.readline)
    load = Load(json.loads(plan))
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    print(json.dumps(await load.run()), flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main())
