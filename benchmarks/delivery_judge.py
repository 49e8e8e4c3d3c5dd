"""The accounts of one cell: what each side said of each message, and whose fault a difference is.

Three witnesses are compared: the application's log, a subscriber that is not disturbed, and a
ledger of what passed the relay. A message that the broker acknowledged and did not deliver is the
broker's loss; one that the client reported as delivered without the broker's acknowledgement is the
client's fault, even if it arrived.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import UP, Connection
from tests.chaos_tap import Seen

from .delivery_cells import Cell, judged_qos
from .delivery_world import NUMBERED, number_of


class Ledger:
    """What passed the relay of one client.

    Args:
        sender: the direction in which the messages go.

    Attributes:
        exchanges: how many deliveries of a message were begun, resends left out.
        taken: messages that the other end acknowledged, with PUBACK or PUBREC.
        ended: messages whose exchange ended, with PUBACK or PUBCOMP.
        sessions_lost: how often a session was asked for again and was gone.
        faults: identifiers that the sender used for two messages.
        disordered: messages that were sent for the first time, on whichever connection, after a
            later one of their topic; or again in another order, on one; or, by a server, before an
            older one that it has to send again.
        reused: messages that got an identifier which was in use.
        repeated: messages that it published again after their PUBREL.
        asked: packet identifiers that wait for the other end's answer, and the connection on which
            they were sent last.
    """

    def __init__(self, sender: str) -> None:
        self.exchanges: Counter[str] = Counter()
        self.taken: set[str] = set()
        self.ended: set[str] = set()
        self.sessions_lost = 0
        self.faults: list[str] = []
        self.disordered: set[str] = set()
        self.repeated: list[str] = []
        self.reused: set[str] = set()
        self._released: set[int] = set()
        self.asked: dict[int, int] = {}
        self._sender = sender
        self._open: dict[int, tuple[str, int]] = {}
        # By identifier, from a session that the server has lost. If the CONNACK that says so does
        # not arrive, the client sends PUBREL as before, and PUBCOMP is still the server's word.
        self._lost: dict[int, str] = {}
        self._client = self._changes = 0
        self._newest: dict[tuple[int, str], int] = {}
        self._newest_of_all: dict[str, int] = {}
        self._begun: set[str] = set()
        # By task and count, the link on which a message came last that is not acknowledged yet.
        self._pending: dict[str, dict[int, int]] = {}
        self._clean: dict[int, bool] = {}
        self._had_session = False
        self._newest_link = 0

    def forget(self) -> None:
        """Begin afresh: the client or the server has lost its session."""
        self._lost.update((name, ident) for name, (ident, _) in self._open.items())
        self._open.clear()
        self._released.clear()
        self._pending.clear()
        self.asked.clear()

    def new_client_next(self) -> None:
        """Expect a client that does not know of the exchanges of the one before."""
        self._changes = 3

    def watch(self, link: Connection, way: str, seen: Seen, passed: bool) -> None:
        """Note a packet; late ones of a connection that the client has given up say nothing."""
        if link.number < self._newest_link:
            return
        self._follow(link, way, seen, passed)
        if seen.kind == "CONNECT":
            self._newest_link = link.number
            self._clean[link.number] = bool(seen.body[7] & 2)
            if self._changes:  # the old client may still connect once or twice before it leaves
                self._changes -= 1
                self._client += 1
        elif seen.kind == "CONNACK" and not seen.body[1]:
            clean = self._clean.get(link.number, False)
            if not seen.session_present:
                self.forget()
                self.sessions_lost += self._had_session and not clean
            self._had_session = not clean
        elif seen.kind == "PUBLISH" and way == self._sender:
            self._publish(link, seen)
        elif seen.kind == "PUBREL" and way == self._sender:
            self._released.add(seen.packet_id)
        elif seen.kind in ("PUBACK", "PUBREC", "PUBCOMP") and way != self._sender:
            ident, _ = self._open.get(seen.packet_id, ("", 0))
            if ident:
                self.taken.add(ident)
                task, _, count = ident.rpartition("-")
                self._pending.get(task, {}).pop(int(count), None)
                if seen.kind != "PUBREC":
                    self.ended.add(ident)
                    del self._open[seen.packet_id]
                    self._released.discard(seen.packet_id)
            elif seen.kind == "PUBCOMP" and seen.packet_id in self._lost:
                self.ended.add(self._lost.pop(seen.packet_id))

    def _follow(self, link: Connection, way: str, seen: Seen, passed: bool) -> None:
        if way != self._sender and seen.kind in ("PUBACK", "PUBREC", "PUBCOMP"):
            self.asked.pop(seen.packet_id, None)
        elif way == self._sender and passed and seen.qos * (seen.kind in ("PUBLISH", "PUBREL")):
            self.asked[seen.packet_id] = link.number  # PUBREL's flags are those of QoS 1

    @property
    def starved(self) -> int:
        """How many exchanges the other end has left unanswered on the newest connection."""
        return sum(number == self._newest_link for number in self.asked.values())

    def _publish(self, link: Connection, seen: Seen) -> None:
        ident = number_of(seen.topic, seen.payload)
        before, client = self._open.get(seen.packet_id, ("", 0))
        if before == ident and seen.packet_id in self._released:  # [MQTT-4.3.3-1]
            self.exchanges[ident] += 1
            self.repeated.append(ident)
            self._released.discard(seen.packet_id)
        elif before != ident:
            self._released.discard(seen.packet_id)
            self.exchanges[ident] += 1
            if before and client == self._client:
                self.faults.append(f"packet identifier {seen.packet_id} for {before} and {ident}")
                self.reused.add(ident)
        if seen.qos:
            self._open[seen.packet_id] = ident, self._client
            self._lost.pop(seen.packet_id, None)
        if len(seen.payload) < NUMBERED and self._sender != UP:
            return  # a topic of its own has no order with the others
        task, _, number = ident.rpartition("-")
        count = int(number)
        newest = self._newest.get((link.number, task), -1)
        if count < newest and ident not in self.taken:
            self.disordered.add(ident)
        self._newest[link.number, task] = max(newest, count)
        of_all = self._newest_of_all.get(task, -1)
        if count < of_all and ident not in self._begun:
            self.disordered.add(ident)
        self._newest_of_all[task] = max(of_all, count)
        if self._sender != UP and seen.qos and ident not in self.taken:
            self._hold(link, task, count)
        self._begun.add(ident)

    def _hold(self, link: Connection, task: str, count: int) -> None:
        """Note a message that the server sends before an older one that it has to send again.

        On a new connection it owes what was not acknowledged first [MQTT-4.4.0-1, MQTT-4.6.0-1].
        RabbitMQ puts that back into its queue when it notices the old connection's end, and goes on
        with newer ones meanwhile.
        """
        pending = self._pending.setdefault(task, {})
        owed = any(one < count and number != link.number for one, number in pending.items())
        if owed and f"{task}-{count}" not in self._begun:
            self.disordered.add(f"{task}-{count}")
        pending[count] = link.number


@dataclass
class Told:
    """What the application's log says.

    Attributes:
        received: number and epoch of each message received; an epoch ends when the receiver leaves
            or its process is killed.
        counts: tasks, threads and Python's blocks of the process, when last asked for.
        killed: epochs at which a process began.
    """

    accepted: dict[str, int] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)
    hung: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    received: list[tuple[str, int]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    marks: set[str] = field(default_factory=set)
    counts: tuple[int, ...] = (0, 0, 0)
    epoch: int = 0
    killed: set[int] = field(default_factory=set)

    def line(self, line: str) -> None:
        """Take one more line."""
        kind, _, rest = line.partition(" ")
        match kind:
            case "a":
                ident, size = rest.split()
                self.accepted[ident] = int(size)
            case "d":
                self.done.add(rest)
            case "e":
                ident, _, error = rest.partition(" ")
                self.errors[ident] = error
            case "r":
                self.received.append((rest, self.epoch))
            case "T":
                self.hung.append(rest)
            case "X":
                self.wrong.append(rest)
            case "s":
                who, state, reason = rest.split(" ", 2)
                if reason != "None":
                    self.reasons[f"{who} {state}: {reason}"] += 1
            case "n":
                self.counts = tuple(map(int, rest.split()))
            case "x":
                self.marks.add(rest)
                if rest == "leaves r":
                    self.epoch += 1

    def life(self) -> None:
        """Note that the process was killed and another one begins."""
        self.epoch += 1
        self.killed.add(self.epoch)
        self.marks.clear()

    def unfinished(self, killed: int) -> list[str]:
        """Return calls of the last life that have neither returned nor failed."""
        return [
            one
            for one in self.accepted
            if int(one.split("-")[0]) >= killed and one not in self.done and one not in self.errors
        ]


def first_arrivals(idents: list[str], sizes: dict[str, int]) -> set[str]:
    """Return messages that came for the first time after a later one of their topic."""
    newest: dict[str, int] = {}
    late, seen = set(), set()
    for ident in idents:
        if ident in seen or sizes.get(ident, 0) < NUMBERED:
            continue
        seen.add(ident)
        task, _, count = ident.rpartition("-")
        if int(count) < newest.get(task, -1):
            late.add(ident)
        newest[task] = max(newest.get(task, -1), int(count))
    return late


def judge(
    cell: Cell,
    told: Told,
    witness: list[str],
    ledgers: tuple[Ledger, Ledger],
    killed: int,
    *,
    stuck: bool,
) -> dict[str, Any]:
    """Return the figures of a cell; ``faults`` are the client's, ``broker`` its own.

    Args:
        witness: numbers in the order in which the undisturbed subscriber received them.
        ledgers: the publisher's and the receiver's.
        killed: how many times the process was killed.
        stuck: whether the broker answered nothing any more.
    """
    qos, kept = judged_qos(cell), cell.session != "clean"
    sent, got = ledgers
    faults: list[str] = []
    broker: list[str] = []
    seen_by_witness, received = set(witness), [ident for ident, _ in told.received]
    seen_by_us = set(received)

    # Every call ends
    unfinished = told.unfinished(killed)
    note(broker if stuck else faults, "calls that did not end", [*told.hung, *unfinished])
    note(faults, "errors of the wrong kind", told.wrong)
    strange = seen_by_witness - told.accepted.keys()
    note(faults, "sent what nobody published", sorted(strange & sent.exchanges.keys()))
    note(broker, "delivered what was never sent", sorted(strange - sent.exchanges.keys()))

    # What is reported as done is done
    if qos:
        note(faults, "done without the broker's word", sorted(told.done - sent.ended))
    lost = (told.done if qos else set()) - seen_by_witness
    note(broker, "acknowledged, not delivered", sorted(lost & sent.ended))
    note(faults, "lost", sorted(lost - sent.ended))

    # What is received is handed out before it is acknowledged
    unseen = got.taken - seen_by_us
    note(faults, "acknowledged, never handed out", sorted(unseen - got.reused))
    note(broker, "taken for a repeat: its identifier was in use", sorted(unseen & got.reused))
    lost_here: set[str] = set()
    if qos and kept:
        lost_here = seen_by_witness - seen_by_us - got.taken
        note(broker, "not delivered to the session", sorted(lost_here))

    # Once, and in order
    doubled = doubled_here = 0
    if qos != 1:
        again = [ident for ident, count in Counter(witness).items() if count > 1]
        ours = [one for one in again if sent.exchanges[one] > 1]
        if qos == 2 and (not kept or sent.sessions_lost):
            ours = []  # exactly once needs a session that is kept
        doubled = len(again)
        note(faults, "sent twice", ours)
        note(broker, "delivered twice", [one for one in again if one not in ours])
        twice = handed_twice(cell, told, got)
        doubled_here = len(twice)
        if qos == 0 or (kept and not got.sessions_lost):
            note(faults, "handed out twice", twice)
    note(faults, "sent out of order", sorted(sent.disordered))
    note(faults, "identifier used twice", sent.faults)
    note(faults, "published again after PUBREL", sent.repeated)
    note(broker, "published again after PUBREL", got.repeated)
    note(broker, "sent again under other identifiers", got.faults)
    late = first_arrivals(witness, told.accepted)
    note(broker, "delivered out of order", sorted(late - sent.disordered))
    late_here = first_arrivals(received, told.accepted)
    note(broker, "sent to us out of order", sorted(got.disordered))
    if qos and kept and not (got.disordered or lost_here or got.sessions_lost):
        note(faults, "handed out out of order", sorted(late_here - late))
    names = Counter(error.split()[0] for error in told.errors.values())
    return {
        "accepted": len(told.accepted),
        "done": len(told.done),
        "arrived": len(seen_by_witness & told.accepted.keys()),
        "received": len(seen_by_us),
        "lost": len(lost - sent.ended) + len(unseen - got.reused),
        "broker_lost": len(lost & sent.ended) + len(lost_here) + len(unseen & got.reused),
        "doubled": doubled + doubled_here,
        "disordered": len(sent.disordered) + len(late) + len(late_here),
        "unknown": names.pop("DeliveryUnknown", 0),
        "failed": dict(names),
        "sessions_lost": sent.sessions_lost + got.sessions_lost,
        "reasons": dict(told.reasons.most_common(12)),
        "faults": faults,
        "broker": broker,
    }


def handed_twice(cell: Cell, told: Told, got: Ledger) -> list[str]:
    """Return messages that were handed out more often than delivered.

    A new process or a new client without the old one's memory may see what was not answered again:
    that is documented.
    """
    epochs: dict[str, list[int]] = {}
    for ident, epoch in told.received:
        epochs.setdefault(ident, []).append(epoch)
    twice = []
    for ident, found in epochs.items():
        allowed = max(1, got.exchanges[ident])
        if cell.session == "persistent":
            allowed += len(set(found)) - 1
        else:
            allowed += sum(1 for epoch in told.killed if min(found) < epoch <= max(found))
        if len(found) > allowed:
            twice.append(ident)
    return twice


def note(into: list[str], what: str, which: list[str]) -> None:
    """Add a line, with the first few."""
    if which:
        into.append(f"{what}: {len(which)} ({', '.join(which[:5])})")
