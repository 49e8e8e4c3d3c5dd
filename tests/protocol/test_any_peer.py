"""Whatever a peer sends and a program asks for, an end stays consistent.

The invariants, after each step: no exception but ``UsageError``, and that only from an intent,
which then has changed nothing; what goes out are whole packets that this end may send; an
identifier that is given out is not in use; a connection's last event says that it is over, and
after it nothing happens and nothing more is sent.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqttws.errors import UsageError
from mqttws.protocol import (
    ClientProtocol,
    ConnectionClosed,
    ConnectRejected,
    Endpoint,
    Event,
    PublishCompleted,
    ServerProtocol,
    Session,
    State,
    SubscribeCompleted,
    UnsubscribeCompleted,
)
from mqttws.wire import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
    encode,
)

from ..pair import events_of, packets_in, state_of

fixed = settings(max_examples=250, derandomize=True, deadline=None, database=None)

# What a peer may send. Few identifiers and topics, so that they meet.

packet_ids = st.integers(1, 4)
topics = st.sampled_from(["a", "a/b", "c"])
filters = st.sampled_from(["a", "a/#", "+/b", "#"])
qos = st.integers(0, 2)
subscriptions = st.lists(st.builds(Subscription, filters, qos), min_size=1, max_size=3)
codes = st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=3)
acknowledged = st.builds(
    Publish, topics, st.binary(max_size=3), st.integers(1, 2), st.booleans(), st.booleans(),
    packet_ids,
)  # fmt: skip
connects = st.builds(
    Connect,
    st.just("c"),
    clean_session=st.booleans(),
    keep_alive=st.sampled_from([0, 10]),
    will=st.none() | st.builds(Will, topics),
)
packets: st.SearchStrategy[Packet] = st.one_of(
    connects,
    st.builds(ConnAck, st.booleans()) | st.builds(ConnAck, st.just(False), st.integers(0, 5)),
    st.builds(Publish, topics, st.binary(max_size=3)),
    acknowledged,
    acknowledged,
    *(st.builds(kind, packet_ids) for kind in (PubAck, PubRec, PubRel, PubComp, UnsubAck)),
    st.builds(Subscribe, packet_ids, subscriptions),
    st.builds(SubAck, packet_ids, codes),
    st.builds(Unsubscribe, packet_ids, st.lists(filters, min_size=1, max_size=2)),
    st.sampled_from([PingReq(), PingResp(), Disconnect()]),
)


@dataclass
class Step:
    """One thing that happens: ``run`` gets the end and the time."""

    name: str
    run: Callable[[Endpoint, float], object]
    is_intent: bool = False

    def __repr__(self) -> str:
        return self.name


def hear(packet: Packet) -> Step:
    return Step(f"hear {packet}", lambda end, now: end.receive_data(encode(packet), now))


def hear_bytes(data: bytes) -> Step:
    return Step(f"hear {data!r}", lambda end, now: end.receive_data(data, now))


def intent(name: str, *arguments: object) -> Step:
    return Step(
        f"{name}{arguments}", lambda end, now: getattr(end, name)(*arguments), is_intent=True
    )


def timed(name: str, **arguments: object) -> Step:
    return Step(name, lambda end, now: getattr(end, name)(now=now, **arguments), is_intent=True)


both = st.one_of(
    st.builds(hear, packets),
    st.builds(hear, packets),
    st.builds(hear, packets),
    st.builds(hear_bytes, st.binary(max_size=6)),
    st.builds(intent, st.just("publish"), topics, st.binary(max_size=3), qos),
    st.builds(intent, st.just("publish"), st.sampled_from(["", "#", "\0"]), st.just(b""), qos),
    st.builds(intent, st.just("acknowledge"), packet_ids),
    st.builds(intent, st.just("acknowledge"), packet_ids),
    st.just(Step("tick", lambda end, now: end.tick(now))),
)
leaving = st.just(Step("eof", lambda end, now: end.receive_eof(now)))
client_steps = st.one_of(
    both,
    both,
    st.builds(intent, st.just("subscribe"), subscriptions | st.just([])),
    st.builds(intent, st.just("unsubscribe"), st.lists(filters, max_size=2)),
    st.just(timed("connect")),
    st.builds(
        lambda reading: Step("set_reading", lambda end, now: end.set_reading(reading, now)),  # type: ignore[attr-defined]
        st.booleans(),
    ),
    leaving | st.just(intent("disconnect")),
)
server_steps = st.one_of(
    both,
    both,
    st.builds(intent, st.just("suback"), packet_ids, codes),
    st.builds(intent, st.just("unsuback"), packet_ids),
    st.builds(lambda present: timed("accept", session_present=present), st.booleans()),
    st.builds(intent, st.just("refuse"), st.integers(0, 6)),
    leaving | st.just(intent("close")),
)

FROM_CLIENT = (Connect, Publish, PubAck, PubRec, PubRel, PubComp, Subscribe, Unsubscribe, PingReq,
               Disconnect)  # fmt: skip
FROM_SERVER = (ConnAck, Publish, PubAck, PubRec, PubRel, PubComp, SubAck, UnsubAck, PingResp)


class Watch:
    """Takes one end through steps and checks the invariants after each."""

    def __init__(self, end: Endpoint) -> None:
        self.end = end
        self.now = 0.0
        self.in_use: set[int] = set(end.session.outgoing)
        self.is_over = False

    def take(self, step: Step) -> None:
        end = self.end
        self.now += 1.0
        before = state_of(end)
        try:
            step.run(end, self.now)
        except UsageError:
            assert step.is_intent
            assert state_of(end) == before
        assert not (self.is_over and state_of(end) != before)
        self._look_at_what_is_sent(packets_in(self._data()))
        self._look_at(events_of(end))
        assert self.is_over == (end.state is State.CLOSED)
        if self.is_over:
            assert end.deadline is None
        elif end.state is State.CONNECTED:
            assert end.session.outgoing.keys() <= self.in_use

    def _data(self) -> bytes:
        data = self.end.data_to_send(self.now)
        assert b"".join(map(encode, packets_in(data))) == data
        assert self.end.data_to_send(self.now) == b""
        assert not (self.is_over and data)
        return data

    def _look_at_what_is_sent(self, packets: list[Packet]) -> None:
        allowed = FROM_CLIENT if isinstance(self.end, ClientProtocol) else FROM_SERVER
        for packet in packets:
            assert isinstance(packet, allowed)
            if isinstance(packet, Connect) and packet.clean_session:
                self.in_use.clear()
            if isinstance(packet, ConnAck) and not packet.session_present:
                self.in_use.clear()
            if isinstance(packet, Publish) and packet.dup:
                assert packet.packet_id in self.in_use
            elif isinstance(packet, Subscribe | Unsubscribe | Publish) and packet.packet_id:
                assert packet.packet_id not in self.in_use
                self.in_use.add(packet.packet_id)

    def _look_at(self, events: list[Event]) -> None:
        for event in events:
            assert not self.is_over, event
            if isinstance(event, ConnectionClosed | ConnectRejected):
                self.is_over = True
            elif isinstance(event, PublishCompleted | SubscribeCompleted | UnsubscribeCompleted):
                assert event.packet_id in self.in_use
                self.in_use.remove(event.packet_id)


def a_session() -> Session:
    session = Session()
    session.outgoing[1] = Publish("a", b"old", 2, packet_id=1)
    session.outgoing[2] = PubRel(2)
    session.received[3] = None
    return session


def connected(end: Endpoint, connect: Connect) -> list[Step]:
    """Return the steps that connect ``end``, so that what follows finds it so."""
    if isinstance(end, ClientProtocol):
        return [timed("connect"), hear(ConnAck(not connect.clean_session))]
    return [
        hear(connect),
        timed("accept", session_present=not connect.clean_session, session=a_session()),
        hear(Subscribe(1, [Subscription("#", 2)])),
        intent("suback", 1, [2]),
    ]


@pytest.mark.rule("MQTT-2.3.1-2", "MQTT-2.3.1-3", "MQTT-4.8.0-1")
@fixed
@given(connects, st.booleans(), st.lists(client_steps, max_size=40))
def test_a_client_stays_consistent_whatever_happens(
    connect: Connect, is_connected: bool, steps: list[Step]
):
    client = ClientProtocol(connect, session=a_session())
    watch = Watch(client)
    for step in [*(connected(client, connect) if is_connected else ()), *steps]:
        watch.take(step)


@pytest.mark.rule("MQTT-2.3.1-4", "MQTT-4.8.0-1")
@fixed
@given(connects, st.booleans(), st.lists(server_steps, max_size=40))
def test_a_server_stays_consistent_whatever_happens(
    connect: Connect, is_connected: bool, steps: list[Step]
):
    server = ServerProtocol(0.0)
    watch = Watch(server)
    watch.in_use = set(a_session().outgoing)
    for step in [*(connected(server, connect) if is_connected else ()), *steps]:
        watch.take(step)


conversations = st.lists(st.builds(encode, packets) | st.binary(max_size=4), max_size=20)


def new_ends() -> tuple[ClientProtocol, ServerProtocol]:
    client = ClientProtocol(Connect("c", clean_session=False), session=a_session())
    client.connect(0.0)
    return client, ServerProtocol(0.0)


@pytest.mark.rule("MQTT-4.8.0-1")
@fixed
@given(conversations, st.lists(st.integers(1, 30), max_size=10), st.booleans())
def test_the_cut_of_the_bytes_makes_no_difference(
    parts: list[bytes], sizes: list[int], is_accepted: bool
):
    for which, opening in ((0, encode(ConnAck(True))), (1, encode(Connect("c")))):
        whole, cut = new_ends()[which], new_ends()[which]
        data = (opening if is_accepted else b"") + b"".join(parts)
        whole.receive_data(data, 1.0)
        at = 0
        for size in [*sizes, *[1] * len(data)]:
            cut.receive_data(data[at : at + size], 1.0)
            at += size
        for end in (whole, cut):
            if isinstance(end, ServerProtocol) and end.state is State.CONNECTING:
                end.accept(1.0)
        assert [repr(event) for event in events_of(whole)] == [
            repr(event) for event in events_of(cut)
        ]
        assert whole.data_to_send(1.0) == cut.data_to_send(1.0)
        assert whole.state is cut.state
        assert whole.session.outgoing == cut.session.outgoing
        assert whole.session.received == cut.session.received


@pytest.mark.rule("MQTT-4.8.0-1")
@fixed
@given(st.binary(max_size=60))
def test_arbitrary_bytes_never_raise(data: bytes):
    for end in new_ends():
        end.receive_data(data, 1.0)
        assert sum(isinstance(event, ConnectionClosed) for event in events_of(end)) == (
            end.state is State.CLOSED
        )
