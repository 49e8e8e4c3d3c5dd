"""One broker and the cells that are tried on it, one after the other, in a process of its own.

``python -m benchmarks.delivery_lane JSON`` prints one line of JSON for each cell.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mqttws import AsyncClient, ConnectRefused, MqttwsError, TlsConfig
from tests.net.rogue import Certificates
from tests.peers.brokers import (
    Aedes,
    Amqtt,
    Mosquitto,
    RabbitMq,
    Stuck,
    amqtt_python,
    node_modules,
    server_pem,
)

from .delivery_cells import Cell
from .delivery_process import CONTROL
from .delivery_trial import Place, Trial

CONTROL_MESSAGES, CONTROL_CUTS = 300, 5
ATTEMPTS = 3
"""Trials of a cell whose broker hangs, such as mosquitto, whose WebSocket listeners may
take its loop for ever (mosquitto's issue 496): what came of it says nothing of the client."""
ANSWERS_WITHIN = 10.0
"""Seconds within which a broker that does not hang answers CONNECT."""
PROMISES = (
    "acknowledged, not delivered", "not delivered to the session", "delivered twice",
    "delivered out of order", "sent to us out of order",
)  # fmt: skip
"""What a broker has to be caught at for a control."""


@dataclass
class Lane:
    """The cells of one broker, and the controls that they have asked for."""

    place: Place
    controls: dict[Any, list[str]] = field(default_factory=dict)

    async def cell(self, cell: Cell) -> dict[str, Any]:
        """Run one cell and return its row."""
        began = time.monotonic()
        restart = cell.restart(self.place.seed)
        row = await self.tried(cell, restart)
        row = {"cell": list(cell), **row, "seconds": round(time.monotonic() - began, 1)}
        if cell.client != CONTROL and any(one.startswith(PROMISES) for one in row["broker"]):
            row["control"] = await self.control(cell, restart)
        return row

    async def tried(self, cell: Cell, restart: str) -> dict[str, Any]:
        """Return the row of a trial in which the broker did not hang; it says how often it did."""
        hung: list[str] = []
        error: Exception
        while len(hung) < ATTEMPTS:
            try:
                async with AsyncExitStack() as stack:
                    row = await Trial(self.place, cell, restart, len(hung)).run(stack)
                if not row["faults"] or await self.answers(cell.scheme):
                    return {**row, "broker": [*hung, *row["broker"]]}
                error = Stuck("answered no CONNECT any more")
            except Stuck as stuck:
                error = stuck
            except Exception as failure:  # it is said, and the other cells go on
                traceback.print_exc()
                error = failure
                if await self.answers(cell.scheme):
                    break
            self.place.broker.kill()
            await self.place.broker.start()
            hung.append(f"hung, was killed, and the cell tried again: {error}")
        return {"accepted": 0, "faults": [f"the trial failed: {error!r}"], "broker": hung}

    async def answers(self, scheme: str) -> bool:
        """Return whether the broker still answers CONNECT, with and without the scheme."""
        for name in {"mqtt", scheme}:
            client = AsyncClient(
                f"{name}://127.0.0.1:{getattr(self.place.broker, name)}/mqtt",
                username="somebody",  # amqtt wants one
                tls=TlsConfig(ca=self.place.certificates.ca_file, only_ca=True),
                connect_timeout=ANSWERS_WITHIN,
                proxy=None,
            )
            try:
                async with client:
                    pass
            except ConnectRefused:
                pass  # an answer too
            except MqttwsError:
                return False
        return True

    async def control(self, cell: Cell, restart: str) -> list[str]:
        """Return what the broker does to paho in the same place; each kind of place once."""
        where = (cell.qos, cell.session != "clean", restart)
        if "MQTTWS_PAHO_PYTHON" not in os.environ:
            return ["no control: MQTTWS_PAHO_PYTHON names no interpreter with paho-mqtt"]
        if where not in self.controls:
            place = replace(self.place, messages=CONTROL_MESSAGES, cuts=CONTROL_CUTS)
            session = "clean" if cell.session == "clean" else "persistent"
            other = cell._replace(client=CONTROL, session=session)
            row = await Lane(place).tried(other, restart)
            self.controls[where] = [
                f"paho, {cell.scheme}: {row.get('done')} of {row['accepted']} done",
                *(row["broker"] or row["faults"] or ["the broker kept its promise"]),
            ]
        return self.controls[where]


def broker_of(name: str, folder: Path, pem: Path) -> Any:
    """Return a broker that has not been started."""
    match name:
        case "mosquitto":
            return Mosquitto(folder, pem, window=20)
        case "aedes":
            return Aedes(folder, node_modules(), pem)
        case "amqtt":
            return Amqtt(folder, amqtt_python(folder), pem)
    return RabbitMq(folder, pem)


async def run(cells: list[Cell], options: dict[str, Any]) -> None:
    """Run cells of one broker and print their rows."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="delivery-") as home:
        folder = Path(home)
        certificates = Certificates(folder)
        broker = broker_of(cells[0].broker, folder, server_pem(certificates))
        try:
            await broker.start()
            lane = Lane(Place(broker, folder, certificates, **options))
            for cell in cells:
                print(json.dumps(await lane.cell(cell)), flush=True)
        finally:
            broker.kill()


def main() -> None:
    """Run a lane."""
    given = json.loads(sys.argv[1])
    cells = [Cell(*one) for one in given.pop("cells")]
    given["tree"] = Path(given["tree"])
    with suppress(asyncio.CancelledError):
        asyncio.run(run(cells, given))


if __name__ == "__main__":
    main()
