"""The cells of the delivery matrix: which combinations there are, which cannot exist, and why."""

import itertools
import random
from typing import NamedTuple

CLIENTS = ("async", "sync")
SESSIONS = ("clean", "persistent", "stored")
"""``stored``: persistent, with a SqliteStore, and the process is killed with SIGKILL."""
BROKERS = ("mosquitto", "aedes", "amqtt", "rabbitmq")
SCHEMES = ("ws", "wss", "mqtt", "mqtts")
RESTARTS = ("", "SIGTERM", "SIGKILL")
"""How the broker is restarted in a cell; what it keeps then is its own affair."""

QUICK_CELLS = 24


class Cell(NamedTuple):
    """One combination; ``name`` is its place in tables, files and client identifiers."""

    client: str
    qos: int
    session: str
    broker: str
    scheme: str

    @property
    def name(self) -> str:
        return f"{self.client}-{self.qos}-{self.session}-{self.broker}-{self.scheme}"

    def restart(self, seed: int) -> str:
        """Return how the broker is restarted: each way in a third of a broker's cells."""
        number = CELLS.index(self)
        order = list(range(len(CELLS)))
        random.Random(seed).shuffle(order)
        return RESTARTS[order[number] % len(RESTARTS)]


CELLS = [
    Cell(client, qos, session, broker, scheme)
    for broker, scheme, qos, session, client in itertools.product(
        BROKERS, SCHEMES, (0, 1, 2), SESSIONS, CLIENTS
    )
]

WITHOUT: dict[tuple[str, int], str] = {
    ("rabbitmq", 2): "RabbitMQ before 4.x has no QoS 2: it answers a QoS 2 PUBLISH with PUBACK and"
    " grants QoS 1 to a subscription (its documentation says so); the cell runs, and is judged as"
    " QoS 1",
}
"""By broker and QoS: what the broker does not offer."""


def judged_qos(cell: Cell) -> int:
    """Return the QoS whose promise the broker can keep."""
    return 1 if (cell.broker, cell.qos) in WITHOUT else cell.qos


def quick_cells(seed: int) -> list[Cell]:
    """Return 24 cells, six a broker, so that each pair (broker, other factor) occurs.

    QoS 0, which promises nothing, is in one of the six.
    """
    chance = random.Random(seed)
    chosen: list[Cell] = []
    for broker in BROKERS:
        schemes = list(SCHEMES) + chance.sample(SCHEMES, 2)
        sessions = list(SESSIONS) * 2
        clients = list(CLIENTS) * 3
        for given in (schemes, sessions, clients):
            chance.shuffle(given)
        levels = [0, 1, 1, 2, 2, 2]
        for parts in zip(clients, levels, sessions, schemes, strict=True):
            client, qos, session, scheme = parts
            chosen.append(Cell(client, qos, session, broker, scheme))
    return list(dict.fromkeys(chosen))
