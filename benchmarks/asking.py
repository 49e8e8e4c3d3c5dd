"""How a question is asked: answers are checked, then timed, one candidate after the other.

The minimum of many rounds is what the machine can do; whatever else ran in between only adds. In
each round every candidate has its turn, so that a slow minute is slow for all of them, and a turn
is a few milliseconds at most, so that some go by without an interruption.
"""

import gc
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns

from benchmarks.candidates import Candidate, Facts, Pieces, Statement
from benchmarks.traffic import PIECE, stream, with_properties
from mqttws.wire import Packet, PubAck, Publish, encode

ENCODED_AT_ONCE = 200


@dataclass(frozen=True)
class Question:
    """One thing to measure.

    Attributes:
        title: the question, in a sentence.
        column: its short name in tables.
        count: packets in one run.
        prepare: checks a candidate and returns one run of it; None where it has no such way.
        floor: whether goals compare with the floor called "two copies" rather than with peers.
    """

    title: str
    column: str
    count: int
    prepare: Callable[[Candidate], Callable[[], object] | None]
    floor: bool = False


def _facts(packet: Packet) -> Facts:
    if isinstance(packet, PubAck):
        return (packet.packet_id,)
    assert isinstance(packet, Publish)
    return packet.topic, packet.payload, packet.qos, packet.packet_id


def decoding(
    title: str,
    column: str,
    packet: Publish | PubAck,
    count: int,
    cut: Callable[[bytes, int], Pieces] = stream,
    *,
    floor: bool = False,
) -> Question:
    """Ask how long a packet takes to decode, ``count`` of them, in pieces made by ``cut``."""

    def prepare(candidate: Candidate) -> Callable[[], object] | None:
        decode, facts = candidate.decode, candidate.facts
        if decode is None or facts is None:
            return None
        if candidate.kind == "floor" and floor is not (candidate.name == "two copies"):
            return None
        if candidate.kind == "floor" and not floor and getattr(packet, "qos", 0) != 1:
            return None  # the fixed shape is that of QoS 1
        if candidate.v5 and floor:
            return None
        data = with_properties(packet) if candidate.v5 else encode(packet)
        pieces = cut(data, count)
        found, last = decode(pieces)
        assert found == count, (candidate.name, found)
        assert facts(last) == _facts(packet), candidate.name
        return lambda: decode(pieces)

    return Question(title, column, count, prepare, floor)


def encoding(
    title: str, column: str, packet: Publish | PubAck, of: Callable[[Candidate], Statement | None]
) -> Question:
    """Ask how long a packet takes to be made and encoded."""

    def prepare(candidate: Candidate) -> Callable[[], object] | None:
        statement = of(candidate)
        if statement is None:
            return None
        expected = with_properties(packet) if candidate.v5 else encode(packet)
        assert statement.run() == expected, candidate.name
        timer = timeit.Timer(statement.code, globals=dict(statement.names))
        return lambda: timer.timeit(ENCODED_AT_ONCE)

    return Question(title, column, ENCODED_AT_ONCE, prepare)


def one_by_one(data: bytes, count: int) -> Pieces:
    """Return each packet as a piece of its own, as one frame brings it."""
    return [data] * count


def in_pieces(data: bytes, count: int) -> Pieces:
    """Return one packet in pieces of 64 KiB."""
    assert count == 1
    return [data[at : at + PIECE] for at in range(0, len(data), PIECE)]


def ask(question: Question, candidates: list[Candidate], rounds: int) -> dict[str, list[float]]:
    """Return the nanoseconds per packet of every round, by the candidates' names."""
    runs = []
    for candidate in candidates:
        run = question.prepare(candidate)
        if run is not None:
            runs.append((candidate.name, run))
    spent: dict[str, list[float]] = {name: [] for name, _ in runs}
    gc.collect()
    gc.disable()
    try:
        # Where one run is one packet, the machine's page faults need more rounds to even out.
        for _ in range(rounds if question.count > 1 else rounds * 5):
            for name, run in runs:
                start = perf_counter_ns()
                run()
                spent[name].append((perf_counter_ns() - start) / question.count)
    finally:
        gc.enable()
    return spent
