"""The delivery matrix counts against the broker what the broker did, and nothing else."""

import pytest

from benchmarks.delivery_judge import Ledger
from mqttws.wire import (
    ConnAck,
    Connect,
    Packet,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    encode,
)

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


def test_what_a_broker_leaves_unanswered() -> None:
    ledger = Ledger(UP)

    def sends(number: int, way: str, packet: Packet) -> None:
        ledger.watch(Connection(number, 0.0), way, Tap().feed(encode(packet))[0], True)

    sends(1, UP, Connect("p", clean_session=False))
    for ident in (1, 2, 3):
        sends(1, UP, Publish("d/1", f"0-{ident}".encode().ljust(24), 2, packet_id=ident))
    sends(1, DOWN, PubRec(1))
    sends(1, DOWN, PubRec(2))
    sends(1, UP, PubRel(2))
    assert ledger.starved == 2  # no PUBREC for 3, no PUBCOMP for 2
    sends(2, UP, Connect("p", clean_session=False))
    assert ledger.starved == 0
    sends(2, UP, PubRel(2))
    assert ledger.starved == 1
    sends(2, DOWN, PubComp(2))
    assert ledger.starved == 0
