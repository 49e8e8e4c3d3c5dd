"""Both ends of a session under random schedules, against a model in which a message is a counter.

Bytes arrive in pieces of any size and are cut anywhere; either end may lose its session or end
without notice; saving may fail. Whatever the schedule: a completed publish has arrived, QoS 2
arrives once while the session is kept, first arrivals are in the order of the calls, nothing is
sent before it is in the store, and once the network is calm everything has arrived.

One loss no client of MQTT 3.1.1 can see: a server that has lost the session says so in one CONNACK
only. If that one is lost, or the process ends before the store has its consequences, the next one
tells of a session again, the new one. Messages that had their PUBREC before are excepted then.
"""

import os
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mqttws.client.outgoing import Limits, Outgoing
from mqttws.client.receipt import Delivery
from mqttws.client.sqlite import SqliteStore
from mqttws.errors import ConnectionLost, DeliveryUnknown
from mqttws.protocol import (
    ClientProtocol,
    Connected,
    ConnectReceived,
    MessageReceived,
    PublishCompleted,
    PublishRestarted,
    ServerProtocol,
    Session,
    State,
)
from mqttws.wire import Connect, PubRel

LIMITS = Limits(publishes=10_000, size=1 << 30, in_flight=4, in_flight_qos2=2)
LEVELS = st.integers(0, 2)
PIECES = st.one_of(st.integers(1, 30), st.just(1 << 16))
Levels = dict[int, int]


class Link:
    """What ``Outgoing`` needs of a connection."""

    blocked = False

    def __init__(self, protocol: ClientProtocol, held: Callable[[], set[int]]) -> None:
        self.protocol = protocol
        self._held = held  # the server's identifiers of QoS 2 messages

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> int | None:
        open_ones = set(self.protocol.session.outgoing)
        packet_id = self.protocol.publish(topic, payload, qos, retain)
        assert packet_id not in open_ones, "an identifier in flight was given out"
        assert packet_id not in self._held(), "an identifier that the server holds was given out"
        return packet_id

    def resend_rest(self, through: int | None = None) -> None:
        self.protocol.resend_rest(through)


class Client:
    """What a driver does around ``ClientProtocol`` and ``Outgoing``: a store, an inbox."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.clean = False
        self.store: SqliteStore | None = None
        self.protocol: ClientProtocol | None = None
        self.deliveries: dict[int, Delivery] = {}  # of this process, by their counters
        self.unsaved: set[int] = set()  # counters that no save has covered
        self.inbox: deque[tuple[object, MessageReceived]] = deque()
        self.fails = False
        self.load()

    def load(self) -> None:
        """Be a new process."""
        if self.store is not None:
            self.store.close()
        self.store = SqliteStore(self._path, synchronous="NORMAL")
        stored = self.store.load("c")
        stored.session.changes = []
        self.outgoing = Outgoing(LIMITS)
        self.outgoing.recording = True
        self.outgoing.load(stored)
        self.session = self.outgoing.session
        self.failed = {int(packet.payload) for packet, _ in stored.failed.values()}
        self.unsaved, self.protocol, self.deliveries = set(), None, {}
        self.inbox.clear()

    @property
    def connected(self) -> bool:
        return self.protocol is not None and self.protocol.state is State.CONNECTED

    @property
    def in_flight(self) -> set[int]:
        return {int(one.payload) for one in self.outgoing.in_flight.values() if one.payload}

    def publish(self, counter: int, qos: int) -> None:
        """Send a message now, or put it into the queue."""
        self.unsaved.add(counter)
        delivery = Delivery("t", b"%d" % counter, qos, False)
        self.deliveries[counter] = delivery
        self.outgoing.submit(delivery)

    def begin(self) -> None:
        """Open a connection."""
        if self.clean:
            self.outgoing.requeue(False, None)
        else:
            self.outgoing.end_connection()
        connect = Connect("c", clean_session=self.clean, keep_alive=0)
        self.protocol = ClientProtocol(connect, session=self.session)
        self.protocol.connect(0.0)

    def lost(self) -> None:
        """Go on without the connection."""
        self.protocol = None
        self.outgoing.detach()
        self.outgoing.end_connection()

    def save(self) -> bool:
        """Write what has changed; return whether that succeeded."""
        if self.fails:
            self.fails = False
            return False
        assert self.store is not None
        steps = [*self.outgoing.take_steps(), *self.session.take_changes()]
        if steps:
            self.store.save(steps)
        self.unsaved.clear()
        return True


class Deliveries(RuleBasedStateMachine):
    """The schedule."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.client = Client(self.folder / "session")
        self.server: ServerProtocol | None = None
        self.server_session = Session()
        self.server_knows = False  # whether the server has a session of this client
        self.up, self.down = bytearray(), bytearray()
        self.count = 0
        # From the client
        self.levels: Levels = {}
        self.arrived: list[int] = []
        self.completed: set[int] = set()
        self.given_up: set[int] = set()  # cancelled, or unknown
        self.forgotten: set[int] = set()  # accepted by a process that ended before the store had it
        self.maybe_twice: set[int] = set()
        self.server_unread: list[tuple[ServerProtocol, MessageReceived]] = []
        self.server_holds = False
        self.held: dict[int, int] = {}  # counters by packet identifier
        self.news = False  # whether the session is gone, and the client's store does not know
        self.news_heard = False  # whether the client knows
        self.unheard: set[int] = set()  # had their PUBREC in a session of whose end none heard
        # To the client
        self.sent_levels: Levels = {}
        self.seen: list[int] = []
        self.maybe_seen_twice: set[int] = set()
        self.maybe_unseen: set[int] = set()

    def teardown(self) -> None:
        try:
            self.calm_down()
        finally:
            if self.client.store is not None:
                self.client.store.close()
            shutil.rmtree(self.folder)

    @initialize(holds=st.booleans(), clean=st.booleans())
    def choose(self, holds: bool, clean: bool) -> None:
        """Have the server pass QoS 2 on at PUBREL (method A of section 4.3.3) or at once (B).

        ``clean`` is the client's choice of a session that ends with its connection.
        """
        self.server_holds = holds
        self.client.clean = clean

    # What the programs do

    @rule(qos=LEVELS, count=st.integers(1, 5))
    def client_publishes(self, qos: int, count: int) -> None:
        for _ in range(count):
            self.count += 1
            self.levels[self.count] = qos
            self.client.publish(self.count, qos)

    @precondition(lambda self: self.client.deliveries)
    @rule(choice=st.integers(0, 20))
    def client_cancels(self, choice: int) -> None:
        counters = [n for n, one in self.client.deliveries.items() if not one.done]
        if counters:
            counter = counters[choice % len(counters)]
            self.client.outgoing.cancel(self.client.deliveries[counter])
            self.given_up.add(counter)

    @precondition(lambda self: self.client.protocol is None and self.client.outgoing.oldest())
    @rule()
    def client_gives_up(self) -> None:
        """Give the oldest up, as one for which the server ends each connection."""
        oldest = self.client.outgoing.oldest()
        assert oldest is not None
        if oldest.done:
            return  # its PUBREL: this server takes it
        if oldest.packet_id and isinstance(self.client.session.outgoing[oldest.packet_id], PubRel):
            return
        self.given_up.add(int(oldest.payload))
        self.client.outgoing.give_up(oldest, ConnectionLost("closed"))

    @precondition(lambda self: self.server and self.server.state is State.CONNECTED)
    @rule(qos=LEVELS, count=st.integers(1, 5))
    def server_publishes(self, qos: int, count: int) -> None:
        assert self.server is not None
        for _ in range(count):
            self.count += 1
            self.sent_levels[self.count] = qos
            assert self.server.publish("s", b"%d" % self.count, qos)

    @precondition(lambda self: self.client.inbox)
    @rule(choice=st.integers(0, 20))
    def client_reads(self, choice: int) -> None:
        inbox, protocol = self.client.inbox, self.client.protocol
        del choice  # a stream hands out in order
        link, message = inbox.popleft()
        self.seen.append(int(message.payload))
        if message.packet_id is None:
            return
        if link is protocol and self.client.connected:
            assert protocol is not None
            protocol.acknowledge(message.packet_id)
        elif message.qos == 2 and protocol is not None:
            protocol.acknowledge_earlier(message.packet_id)
        elif message.qos == 2:
            self.client.session.hand_over(message.packet_id)

    @precondition(lambda self: self.server_unread)
    @rule(choice=st.integers(0, 20))
    def server_reads(self, choice: int) -> None:
        server, message = self.server_unread.pop(choice % len(self.server_unread))
        assert message.packet_id is not None
        if server is self.server and server.state is State.CONNECTED:
            server.acknowledge(message.packet_id)
        elif message.qos == 2 and self.server is not None:
            if self.server.session is self.server_session:
                self.server.acknowledge_earlier(message.packet_id)
            else:
                self.server_session.hand_over(message.packet_id)
        elif message.qos == 2:
            self.server_session.hand_over(message.packet_id)

    # What the network does

    @precondition(lambda self: self.server is None)
    @rule()
    def connect(self) -> None:
        if self.client.clean:
            self.session_ends()
        self.client.begin()
        self.server = ServerProtocol(0.0)

    @precondition(lambda self: self.server is not None)
    @rule(size=PIECES)
    def bytes_go_up(self, size: int) -> None:
        assert self.client.protocol is not None
        assert self.server is not None
        if self.client.protocol.has_data and not self.client_saves():
            return
        self.up += self.client.protocol.data_to_send(0.0, size)
        piece = bytes(self.up[:size])
        del self.up[:size]
        self.server.receive_data(piece, 0.0)
        self.server_events()

    @precondition(lambda self: self.server is not None)
    @rule(size=PIECES)
    def bytes_come_down(self, size: int) -> None:
        assert self.client.protocol is not None
        assert self.server is not None
        self.down += self.server.data_to_send(0.0)
        piece = bytes(self.down[:size])
        del self.down[:size]
        self.client.protocol.receive_data(piece, 0.0)
        self.client_events()

    @rule(
        rounds=st.integers(1, 8),
        sizes=st.tuples(PIECES, PIECES),
        reads=st.tuples(st.booleans(), st.booleans()),
        qos=st.sampled_from([None, 0, 1, 2, 2]),
    )
    def time_passes(
        self,
        rounds: int,
        sizes: tuple[int, int],
        reads: tuple[bool, bool],
        qos: int | None,
    ) -> None:
        """Do what mostly happens: a message is published, bytes flow both ways, programs read."""
        if self.server is None:
            self.connect()
        if qos is not None:
            self.client_publishes(qos, 1)
        for _ in range(rounds):
            if self.server is None:  # saving has failed
                return
            self.bytes_go_up(sizes[0])
            while reads[0] and self.server_unread:
                self.server_reads(0)
            if self.server is not None:
                self.bytes_come_down(sizes[1])
            while reads[1] and self.client.inbox:
                self.client_reads(0)

    @precondition(lambda self: self.server is not None)
    @rule()
    def cut(self) -> None:
        assert self.client.protocol is not None
        assert self.server is not None
        self.up.clear()
        self.down.clear()
        for end in (self.client.protocol, self.server):
            end.receive_eof(0.0)
        self.server = None
        if self.news and not self.news_heard:
            self.miss_the_news()
        self.client.lost()
        if self.client.clean:
            self.session_ends()

    # What goes wrong beside it

    @rule()
    def saving_will_fail(self) -> None:
        self.client.fails = True

    @rule()
    def client_is_killed(self) -> None:
        """End the process: what was not saved has not been sent either."""
        if self.server is not None:
            self.cut()
        saved_changes = self.client.session.changes or []
        handed = {change.packet_id for change in saved_changes if change.kind == "received"}
        if handed:  # handed out, and the store does not know: once more is allowed
            self.maybe_seen_twice |= {n for n in self.seen if self.sent_levels[n] == 2}
        lost = set(self.client.unsaved)
        self.forgotten |= lost
        assert not lost & set(self.arrived), "sent before it was in the store"
        self.client.load()
        self.client.fails = False
        if self.news:
            self.miss_the_news()

    @precondition(lambda self: self.server_knows)
    @rule()
    def server_loses_its_sessions(self) -> None:
        if self.server is not None:
            self.cut()
        self.session_ends()

    def session_ends(self) -> None:
        """Let the server forget."""
        self.server_session = Session()
        self.server_knows = False
        self.server_unread.clear()
        self.held.clear()
        self.maybe_twice |= self.client.in_flight
        self.maybe_unseen |= self.sent_levels.keys() - set(self.seen)
        self.maybe_seen_twice |= self.sent_levels.keys() - set(self.seen)

    def miss_the_news(self) -> None:
        """Note what the client goes on with as if the server had it still."""
        accepted = self.client.session.accepted.values()
        self.unheard |= {int(message.payload) for message in accepted}
        self.news = self.news_heard = False

    # What is told

    def client_saves(self) -> bool:
        if self.client.save():
            if self.news_heard:
                self.news = self.news_heard = False
            return True
        self.client_is_killed()
        return False

    def server_events(self) -> None:
        assert self.server is not None
        while (event := self.server.next_event()) is not None:
            if isinstance(event, ConnectReceived):
                session, known = self.server_session, self.server_knows
                self.server.accept(0.0, session_present=known, session=session)
                self.server_session.granted = {"s": 2}
                self.server_knows = not self.client.clean
                self.news = self.news or not (known or self.client.clean)
            elif isinstance(event, MessageReceived):
                if event.packet_id is not None and event.qos == 2 and self.server_holds:
                    self.held[event.packet_id] = int(event.payload)
                else:
                    self.arrived.append(int(event.payload))
                if event.packet_id is not None:
                    self.server_unread.append((self.server, event))
        released = self.held.keys() - self.server_session.received
        for packet_id in [one for one in self.held if one in released]:
            self.arrived.append(self.held.pop(packet_id))

    def client_events(self) -> None:
        protocol = self.client.protocol
        assert protocol is not None
        while (event := protocol.next_event()) is not None:
            if isinstance(event, Connected):
                if not event.session_present:
                    self.maybe_twice |= self.client.in_flight
                    self.client.outgoing.releases.clear()
                    self.news_heard = self.news
                link = Link(protocol, lambda: self.server_session.received)
                self.client.outgoing.attach(link, None, held=False)
            elif isinstance(event, PublishCompleted):
                delivery = self.client.outgoing.complete(event.packet_id, event.downgraded)
                if delivery is not None and delivery.error is None:
                    self.completed.add(int(delivery.payload))
                    self.what_is_completed_has_arrived()
            elif isinstance(event, PublishRestarted):
                delivery = self.client.outgoing.in_flight[event.packet_id]
                assert int(delivery.payload) in self.maybe_twice
            elif isinstance(event, MessageReceived):
                self.client.inbox.append((protocol, event))
        # Not before: an identifier that is free again may stand in an event that has not been read.
        self.client.outgoing.drain()

    # What must hold

    @invariant()
    def nobody_hears_of_a_fault(self) -> None:
        for end in (self.client.protocol, self.server):
            assert end is None or end.state is not State.CLOSED

    @invariant()
    def no_more_than_the_window_is_in_flight(self) -> None:
        waiting = list(self.client.outgoing.in_flight.values())
        assert len(waiting) <= LIMITS.in_flight
        assert sum(one.qos == 2 for one in waiting) <= LIMITS.in_flight_qos2

    @invariant()
    def only_what_is_unknown_ends_in_an_error(self) -> None:
        for counter, one in self.client.deliveries.items():
            if one.error is not None and counter not in self.given_up:
                assert isinstance(one.error, DeliveryUnknown)
                assert self.client.clean
                assert self.levels[counter] == 2
                self.given_up.add(counter)

    @invariant()
    def what_is_completed_has_arrived(self) -> None:
        assert self.completed - self.unheard <= set(self.arrived)

    @invariant()
    def once_where_once_is_promised(self) -> None:
        for counter, times in Counter(self.arrived).items():
            if self.levels[counter] != 1 and counter not in self.maybe_twice:
                assert times == 1, f"QoS {self.levels[counter]} message {counter}: {times} times"
        for counter, times in Counter(self.seen).items():
            if self.sent_levels[counter] != 1 and counter not in self.maybe_seen_twice:
                assert times == 1, f"QoS {self.sent_levels[counter]} message {counter}: {times}"

    @invariant()
    def first_arrivals_are_in_order(self) -> None:
        for one_side, levels in ((self.arrived, self.levels), (self.seen, self.sent_levels)):
            first = dict.fromkeys(one_side)
            for qos in (0, 1, 2):  # [MQTT-4.6.0-6] holds within a QoS
                # One that was given up comes when it is released, if the server had it.
                alike = [n for n in first if levels[n] == qos and n not in self.given_up]
                assert alike == sorted(alike), f"QoS {qos}: {alike}"

    def calm_down(self) -> None:
        """Let everything end, and see that nothing is missing."""
        self.client.fails = False
        if self.server is None:
            self.connect()
        still = 0
        while still < 5:
            before = self.progress()
            self.bytes_go_up(1 << 20)
            self.bytes_come_down(1 << 20)
            while self.client.inbox:
                self.client_reads(0)
            while self.server_unread:
                self.server_reads(0)
            still = still + 1 if self.progress() == before else 0
        self.what_is_completed_has_arrived()
        self.once_where_once_is_promised()
        self.first_arrivals_are_in_order()
        self.only_what_is_unknown_ends_in_an_error()
        failed = [packet for packet, _ in self.client.outgoing.take_failed().values()]
        self.given_up |= self.client.failed | {int(packet.payload) for packet in failed}
        owed = {n for n, qos in self.levels.items() if qos} - self.forgotten - self.given_up
        owed -= self.unheard
        assert owed <= set(self.arrived), f"never arrived: {owed - set(self.arrived)}"
        assert not self.client.in_flight - self.given_up, "calls that do not end"
        assert not self.client.outgoing.queue
        owed = {n for n, qos in self.sent_levels.items() if qos} - self.maybe_unseen
        assert owed <= set(self.seen), f"never handed out: {owed - set(self.seen)}"
        assert not self.server_session.outgoing
        assert not self.server_session.received, "the server waits for PUBREL for ever"
        assert not self.client.session.outgoing
        assert not self.client.outgoing.releases

    def progress(self) -> tuple[object, ...]:
        client = self.client.protocol
        return (
            len(self.arrived), len(self.seen), len(self.completed), len(self.client.in_flight),
            len(self.client.outgoing.queue),
            len(self.up), len(self.down), client and client.has_data,
            self.server and self.server.has_data, len(self.server_session.outgoing),
        )  # fmt: skip


def campaign(max_examples: int, steps: int) -> settings:
    return settings(
        max_examples=max_examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


Deliveries.TestCase.settings = campaign(25, 30)
TestDelivery = Deliveries.TestCase


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestDeliveryCampaign(Deliveries.TestCase):
    settings = campaign(300, 80)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif("MQTTWS_LONG_MODEL" not in os.environ, reason="a campaign of its own")
class TestDeliveryLong(Deliveries.TestCase):
    settings = campaign(2000, 80)
