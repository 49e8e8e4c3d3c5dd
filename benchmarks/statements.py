"""Drives the clients against the checking broker of paho.mqtt.testing.

``python -m benchmarks.statements FOLDER``, where FOLDER is a clone of that project: its broker logs
each statement of MQTT 3.1.1 that a client breaks. Both clients connect over ``mqtt`` and ``ws``,
the async one through the chaos relay, with each QoS, retained messages, wills, sessions, take-over,
long messages, cuts and resends. Prints one line for each violation, and the statements that were
exercised; ends with 1 if there was a violation.
"""

import argparse
import asyncio
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from mqttws import AsyncClient, Backoff, Client, MqttwsError, Will
from tests.chaos import DOWN, UP, Effect, Fate, relay
from tests.ports import free_port

BROKER = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
logger = logging.getLogger("MQTT broker")
import mqtt.brokers.start as start
start.filter.filter = lambda record: True  # each line, not each statement's first
mqtt = start
mqtt.main(["broker", "-c", sys.argv[1]])
"""
BURSTS = 12
PACKETS = [
    *((UP, name) for name in ("PUBLISH", "PUBREL", "PUBACK", "PUBREC", "PUBCOMP")),
    *((DOWN, name) for name in ("PUBLISH", "PUBREL", "PUBACK", "PUBREC", "PUBCOMP")),
]
VIOLATION = re.compile(r"^(?:ERROR|CRITICAL) (\[MQTT-.*)", re.MULTILINE)
"""Other errors of its log name no statement: a PUBREL that a resend owes is one for it."""
STATEMENT = re.compile(r"\[(MQTT-[^\]]+)\]")


def options(client_id: str, **more: object) -> dict[str, object]:
    """Return the arguments that all clients share."""
    return {
        "client_id": client_id,
        # The broker must have seen the old connection's end: it mistakes what is left of it.
        "reconnect": Backoff(0.6, 1.0),
        "keep_alive": 5,
        "proxy": None,
        "connect_timeout": 10.0,
        **more,
    }


def fate(chance: random.Random) -> Fate:
    """Return the end of one connection: at a packet, in order, so that the broker sees an end."""
    direction, packet = chance.choice(PACKETS)
    nth, passed = chance.randint(1, 12), chance.random() < 0.5
    end = Effect.FIN
    return Fate(end, direction, packet=packet, nth=nth, passed=passed, patience=2.0, hold=0.3)


async def drive(url: str, port: int) -> tuple[int, int]:
    """Use an ``AsyncClient`` in every way; return the messages read, and the cuts."""
    count = 0
    async with relay(port) as carrier:
        through = url.format(carrier.port)
        chance = random.Random(1)
        carrier.fates = lambda: fate(chance)
        will = Will("w/last", b"gone", 1, True)
        async with AsyncClient(through, **options("reader", clean_session=False)) as reader:
            messages = reader.messages()

            async def read() -> None:
                nonlocal count
                async for _ in messages:
                    count += 1

            reading = asyncio.create_task(read())
            await reader.subscribe([("a/+/#", 2), ("a/b", 1), ("w/#", 0)])
            writer = AsyncClient(through, **options("writer", clean_session=False, will=will))
            async with writer:
                await writer.subscribe("answers/#", 1)
                for _ in range(BURSTS):
                    burst = [
                        writer.publish(f"a/{n}", bytes(n * 37), qos=n % 3, retain=n == 7)
                        for n in range(30)
                    ]
                    for one in asyncio.as_completed(burst):
                        try:
                            await one
                        except MqttwsError as error:
                            print("not delivered:", error, file=sys.stderr)
                cuts = sum(link.ended == "FIN" for link in carrier.history)
                carrier.calm()
                await writer.publish("a/long", bytes(300_000), qos=2)
                await writer.unsubscribe("answers/#")
                other = AsyncClient(through, **options("writer", reconnect=None))
                await other.connect()  # takes the identifier over
                await other.disconnect()
            await reader.unsubscribe("a/b", "w/#")
            await asyncio.sleep(6)  # PINGREQ
        await reading
    return count, cuts


def drive_sync(url: str, port: int) -> None:
    """The same in short with a ``Client``, without cuts."""
    with Client(url.format(port), **options("sync", username="u", password="p")) as client:
        messages = client.messages("s/#")
        client.subscribe("s/#", 2)
        for qos in range(3):
            client.publish("s/e", b"x" * 200, qos=qos)
        for _ in range(3):
            next(messages)
        client.unsubscribe("s/#")
    with Client(url.format(port), **options("", username="u")) as client:
        client.publish("s/retained", b"", qos=0, retain=True)


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statements", description=__doc__)
    parser.add_argument("folder", type=Path, help="a clone of eclipse-paho/paho.mqtt.testing")
    folder = parser.parse_args().folder / "interoperability"
    port = free_port()
    with tempfile.TemporaryDirectory() as scratch:
        settings, output = Path(scratch, "broker.conf"), Path(scratch, "log")
        settings.write_text(f"listener {port} 127.0.0.1\n")
        with output.open("w") as file:
            broker = subprocess.Popen(
                [sys.executable, "-c", BROKER, str(settings)],
                cwd=folder,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            asyncio.run(use(port))
        finally:
            broker.kill()
            broker.wait()
        log = output.read_text()
    violations = VIOLATION.findall(log)
    seen = sorted(set(STATEMENT.findall(log)))
    print(f"{len(seen)} statements exercised: {', '.join(seen)}")
    for line in violations:
        print("violated:", line)
    print(f"{len(violations)} statements violated")
    raise SystemExit(bool(violations))


async def use(port: int) -> None:
    """Drive everything over both transports."""
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.1)
    for url in ("mqtt://127.0.0.1:{}", "ws://127.0.0.1:{}/mqtt"):
        read, cuts = await drive(url, port)
        print(f"{url.split(':')[0]}: {read} messages read, {cuts} connections cut")
        await asyncio.to_thread(drive_sync, url, port)


if __name__ == "__main__":
    main()
