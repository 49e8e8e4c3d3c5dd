"""Both ends of a session under random schedules, against a model in which a message is a counter.

Bytes arrive in pieces of any size and are cut anywhere; either end may lose its session or end
without notice; saving may fail. Whatever the schedule: a completed publish has arrived, QoS 2
arrives once while the session is kept, first arrivals are in the order of the calls, nothing is
sent before it is in the store, and once the network is calm everything has arrived.
"""

import shutil
import tempfile
from collections import Counter, deque
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

from mqttws.client.sqlite import SqliteStore
from mqttws.client.store import Queued, Step, Unqueued
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
from mqttws.wire import Connect, Publish

CONNECT = Connect("c", clean_session=False, keep_alive=0)
LEVELS = st.integers(0, 2)
PIECES = st.one_of(st.integers(1, 12), st.integers(1, 4096))
Levels = dict[int, int]


class Client:
    """What a driver does around ``ClientProtocol``: a queue, a store, an inbox."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.store: SqliteStore | None = None
        self.protocol: ClientProtocol | None = None
        self.in_flight: dict[int, int] = {}  # counters by packet identifier
        self.queue: deque[tuple[int, int, int]] = deque()  # place, counter, QoS
        self.steps: list[Step] = []
        self.unsaved: set[int] = set()  # counters that no save has covered
        self.inbox: deque[tuple[object, MessageReceived]] = deque()
        self.fails = False
        self._place = 0
        self.load()

    def load(self) -> None:
        """Be a new process."""
        if self.store is not None:
            self.store.close()
        self.store = SqliteStore(self._path, synchronous="NORMAL")
        stored = self.store.load("c")
        self.session = stored.session
        self.session.changes = []
        self.queue = deque(
            (place, int(packet.payload), packet.qos) for place, packet in stored.queue.items()
        )
        self._place = max(stored.queue, default=self._place)
        self.in_flight = {
            key: counter for key, counter in self.in_flight.items() if key in self.session.outgoing
        } | {
            key: int(packet.payload)
            for key, packet in self.session.outgoing.items()
            if isinstance(packet, Publish)
        }
        self.steps, self.unsaved, self.protocol = [], set(), None
        self.inbox.clear()

    @property
    def connected(self) -> bool:
        return self.protocol is not None and self.protocol.state is State.CONNECTED

    def publish(self, counter: int, qos: int) -> None:
        """Send a message now, or put it into the queue."""
        self.unsaved.add(counter)
        if self.connected and not self.queue:
            self._send(counter, qos)
            return
        self._place += 1
        packet = Publish("t", b"%d" % counter, qos, packet_id=1 if qos else None)
        self.steps.append(Queued(self._place, packet))
        self.queue.append((self._place, counter, qos))

    def drain(self) -> None:
        """Send from the queue."""
        while self.queue:
            place, counter, qos = self.queue.popleft()
            self.steps.append(Unqueued(place))
            self._send(counter, qos)

    def _send(self, counter: int, qos: int) -> None:
        assert self.protocol is not None
        packet_id = self.protocol.publish("t", b"%d" % counter, qos)
        if packet_id is not None:
            assert packet_id not in self.in_flight, "an identifier in flight was given out"
            self.in_flight[packet_id] = counter

    def save(self) -> bool:
        """Write what has changed; return whether that succeeded."""
        if self.fails:
            self.fails = False
            return False
        assert self.store is not None
        steps = [*self.session.take_changes(), *self.steps]
        self.steps = []
        if steps:
            self.store.save(steps)
        self.unsaved.clear()
        return True


class Delivery(RuleBasedStateMachine):
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
        self.forgotten: set[int] = set()  # accepted by a process that ended before the store had it
        self.maybe_twice: set[int] = set()
        self.server_unread: list[tuple[ServerProtocol, MessageReceived]] = []
        self.server_holds = False
        self.held: dict[int, int] = {}  # counters by packet identifier
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

    @initialize(holds=st.booleans())
    def choose(self, holds: bool) -> None:
        """Have the server pass QoS 2 on at PUBREL (method A of section 4.3.3) or at once (B)."""
        self.server_holds = holds

    # What the programs do

    @rule(qos=LEVELS, count=st.integers(1, 5))
    def client_publishes(self, qos: int, count: int) -> None:
        for _ in range(count):
            self.count += 1
            self.levels[self.count] = qos
            self.client.publish(self.count, qos)

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
        self.client.protocol = ClientProtocol(CONNECT, session=self.client.session)
        self.client.protocol.connect(0.0)
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
        self.client.protocol = None

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

    @precondition(lambda self: self.server_knows)
    @rule()
    def server_loses_its_sessions(self) -> None:
        if self.server is not None:
            self.cut()
        self.server_session = Session()
        self.server_knows = False
        self.server_unread.clear()
        self.held.clear()
        self.maybe_twice |= set(self.client.in_flight.values())
        self.maybe_unseen |= self.sent_levels.keys() - set(self.seen)
        self.maybe_seen_twice |= self.sent_levels.keys() - set(self.seen)

    # What is told

    def client_saves(self) -> bool:
        if self.client.save():
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
                self.server_knows = True
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
                    self.maybe_twice |= set(self.client.in_flight.values())
                self.client.drain()
            elif isinstance(event, PublishCompleted):
                self.completed.add(self.client.in_flight.pop(event.packet_id))
            elif isinstance(event, PublishRestarted):
                assert self.client.in_flight[event.packet_id] in self.maybe_twice
            elif isinstance(event, MessageReceived):
                self.client.inbox.append((protocol, event))

    # What must hold

    @invariant()
    def nobody_hears_of_a_fault(self) -> None:
        for end in (self.client.protocol, self.server):
            assert end is None or end.state is not State.CLOSED

    @invariant()
    def what_is_completed_has_arrived(self) -> None:
        assert self.completed <= set(self.arrived)

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
                alike = [counter for counter in first if levels[counter] == qos]
                assert alike == sorted(alike), f"QoS {qos}: {alike}"

    def calm_down(self) -> None:
        """Let everything end, and see that nothing is missing."""
        self.client.fails = False
        if self.server is None:
            self.connect()
        for _ in range(1000):
            before = self.progress()
            self.bytes_go_up(1 << 20)
            self.bytes_come_down(1 << 20)
            while self.client.inbox:
                self.client_reads(0)
            while self.server_unread:
                self.server_reads(0)
            if self.progress() == before and not self.client.in_flight:
                break
            if self.progress() == before:
                break
        self.what_is_completed_has_arrived()
        self.once_where_once_is_promised()
        self.first_arrivals_are_in_order()
        owed = {n for n, qos in self.levels.items() if qos} - self.forgotten
        assert owed <= set(self.arrived), f"never arrived: {owed - set(self.arrived)}"
        assert not self.client.in_flight, "calls that do not end"
        owed = {n for n, qos in self.sent_levels.items() if qos} - self.maybe_unseen
        assert owed <= set(self.seen), f"never handed out: {owed - set(self.seen)}"
        assert not self.server_session.outgoing

    def progress(self) -> tuple[object, ...]:
        client = self.client.protocol
        return (
            len(self.arrived), len(self.seen), len(self.completed), len(self.client.in_flight),
            len(self.up), len(self.down), client and client.has_data,
            self.server and self.server.has_data, len(self.server_session.outgoing),
        )  # fmt: skip


Delivery.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestDelivery = Delivery.TestCase


@pytest.mark.slow
class TestDeliveryLong(Delivery.TestCase):
    settings = settings(
        max_examples=2000,
        stateful_step_count=80,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
