"""The delivery matrix counts against the broker what the broker did, and nothing else."""

import pytest

from benchmarks.delivery_judge import Ledger
from mqttws.wire import ConnAck, Connect, PubAck, Publish, encode

from .chaos import DOWN, UP, Connection
from .chaos_tap import Tap

BROUGHT = "brought"
ANSWERED = "answered"


def ledger_of(*events: tuple[int, str, str]) -> Ledger:
    """Return a receiver's ledger after events: which connection, what happened, which message."""
    ledger, links = Ledger(DOWN), {}
    idents: dict[str, int] = {}
    for number, what, message in events:
        if number not in links:
            link = links[number] = Connection(number, 0.0)
            for way, packet in (
                (UP, Connect("r", clean_session=False)),
                (DOWN, ConnAck(number > 1)),
            ):
                ledger.watch(link, way, Tap().feed(encode(packet))[0], True)
        ident = idents.setdefault(message, len(idents) + 1)
        way = DOWN if what is BROUGHT else UP
        topic, payload = f"d/{message}", message.encode().ljust(24)
        packet = Publish(topic, payload, 1, packet_id=ident) if way is DOWN else PubAck(ident)
        ledger.watch(links[number], way, Tap().feed(encode(packet))[0], True)
    return ledger


@pytest.mark.parametrize(
    ("events", "disordered"),
    [
        ([(1, BROUGHT, "0-1"), (1, BROUGHT, "0-2")], set()),
        ([(1, BROUGHT, "0-2"), (1, BROUGHT, "0-1")], {"0-1"}),
        ([(1, BROUGHT, "0-1"), (2, BROUGHT, "0-1"), (2, BROUGHT, "0-2")], set()),
        ([(1, BROUGHT, "0-1"), (2, BROUGHT, "0-2"), (2, BROUGHT, "0-1")], {"0-1", "0-2"}),
        ([(1, BROUGHT, "0-1"), (2, BROUGHT, "0-2"), (3, BROUGHT, "0-1")], {"0-2"}),
        ([(1, BROUGHT, "0-1"), (1, ANSWERED, "0-1"), (2, BROUGHT, "0-2")], set()),
        ([(1, BROUGHT, "0-2"), (2, BROUGHT, "0-1")], {"0-1"}),
        ([(1, BROUGHT, "0-2"), (2, BROUGHT, "1-1")], set()),
    ],
)
def test_what_a_broker_sends_out_of_order(
    events: list[tuple[int, str, str]], disordered: set[str]
) -> None:
    assert ledger_of(*events).disordered == disordered
