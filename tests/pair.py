"""A client and a server joined by method calls: a network without a network, time is a number.

``Pair`` holds both ends, two wires and two obliging programs: the server's accepts every client,
grants what is asked and keeps sessions; both acknowledge every message. A test lets bytes flow,
cuts the connection after a chosen byte, lets seconds pass, and reads what each side was told.

The functions are for tests of one end alone, with a peer that says whatever the test wants.
"""

from itertools import chain, repeat
from typing import Any

from mqttws.protocol import (
    ClientProtocol,
    ConnectReceived,
    Endpoint,
    Event,
    MessageReceived,
    ServerProtocol,
    Session,
    State,
    SubscribeReceived,
    UnsubscribeReceived,
)
from mqttws.wire import ConnAck, Connect, Decoder, Packet, Subscribe, Subscription, encode

# One end alone


def say(end: Endpoint, *packets: Packet, now: float = 0.0) -> None:
    """Let the peer say something to ``end``, in one piece."""
    end.receive_data(b"".join(map(encode, packets)), now)


def said(end: Endpoint, now: float = 0.0) -> list[Packet]:
    """Return the packets that ``end`` sends now."""
    return packets_in(end.data_to_send(now))


def packets_in(data: bytes) -> list[Packet]:
    """Return the whole packets in ``data``; a rest is left aside."""
    decoder = Decoder()
    decoder.feed(data)
    return list(iter(decoder.next_packet, None))


def events_of(end: Endpoint) -> list[Event]:
    """Return what has happened on ``end`` since the last call."""
    return list(iter(end.next_event, None))


def connected_client(
    connect: Connect | None = None,
    *,
    session: Session | None = None,
    session_present: bool = False,
    now: float = 0.0,
    **options: Any,
) -> ClientProtocol:
    """Return a client whose CONNECT has been accepted; what that needed has been read."""
    client = ClientProtocol(connect or Connect("c"), session=session, **options)
    client.connect(now)
    client.data_to_send(now)
    say(client, ConnAck(session_present), now=now)
    events_of(client)
    return client


def connected_server(
    connect: Connect | None = None,
    *,
    session: Session | None = None,
    subscriptions: dict[str, int] | None = None,
    now: float = 0.0,
) -> ServerProtocol:
    """Return a server that has accepted a client and granted its subscriptions.

    A session that is given is said to be present.
    """
    server = ServerProtocol(now)
    say(server, connect or Connect("c"), now=now)
    server.accept(now, session=session, session_present=session is not None)
    if subscriptions:
        say(server, Subscribe(1, [Subscription(*wish) for wish in subscriptions.items()]), now=now)
        server.suback(1, list(subscriptions.values()))
    events_of(server)
    if session is None:
        said(server, now)
    return server


def state_of(end: Endpoint) -> tuple[object, ...]:
    """Return all that an intent can change, to compare before and after."""
    return (
        end.state,
        list(end._outbox),
        list(end._events),
        dict(end._requests),
        [(one.packet_id, one.qos, one.done) for one in end._arrivals._waiting],
        dict(end.session.outgoing),
        set(end.session.received),
        dict(end.session.granted),
        end.deadline,
    )


# Both ends


class Wire:
    """One direction of a connection.

    Attributes:
        data: the bytes under way.
        carried: how many bytes have arrived.
        cut_after: how many arrive before the connection is cut; None for all.
        dead: whether bytes vanish, with nobody told.
    """

    def __init__(self, cut_after: int | None = None) -> None:
        self.data = bytearray()
        self.carried = 0
        self.cut_after = cut_after
        self.dead = False

    @property
    def is_cut(self) -> bool:
        return self.cut_after is not None and self.carried >= self.cut_after

    def take(self, size: int | None) -> bytes:
        """Return the next bytes that arrive, at most ``size``."""
        if self.dead:
            self.data.clear()
        size = len(self.data) if size is None else min(size, len(self.data))
        if self.cut_after is not None:
            size = min(size, self.cut_after - self.carried)
        taken = bytes(self.data[:size])
        del self.data[:size]
        self.carried += size
        return taken


class Pair:
    """A client and a server, each with its program, and the connection between them.

    Args:
        connect: the client's CONNECT.
        cuts: sizes in bytes of the pieces that arrive, used again and again; empty for whatever
            is under way.

    Attributes:
        client_events, server_events: all that happened, over every connection.
        client_said, server_said: every packet that left, whether it arrived or not; of the
            present connection.
    """

    def __init__(self, connect: Connect | None = None, *, cuts: list[int] | None = None) -> None:
        self.connect = connect or Connect("c")
        self.now = 0.0
        self.client_session = Session()
        self.server_session: Session | None = None
        self.client_events: list[Event] = []
        self.server_events: list[Event] = []
        self._sizes = chain.from_iterable(repeat(cuts)) if cuts else repeat(None)
        self.reconnect()

    def reconnect(
        self, *, cut_to_server: int | None = None, cut_to_client: int | None = None
    ) -> None:
        """Open a new connection, which may be cut after so many bytes, with the same sessions."""
        self.client = ClientProtocol(self.connect, session=self.client_session)
        self.server = ServerProtocol(self.now)
        self.to_server = Wire(cut_to_server)
        self.to_client = Wire(cut_to_client)
        self.client_said: list[Packet] = []
        self.server_said: list[Packet] = []
        self.client.connect(self.now)

    def exchange(self) -> bool:
        """Carry bytes and let both programs answer until nothing moves; False if a cut came."""
        for _ in range(10_000):
            moved = self._carry_to_server() | self._carry_to_client()
            if self.to_server.is_cut or self.to_client.is_cut:
                self.drop()
                return False
            if not moved:
                return True
        raise AssertionError("the two ends never fall silent")

    def drop(self) -> None:
        """Cut the connection: what is under way is lost, and both ends learn of it."""
        self.to_server.data.clear()
        self.to_client.data.clear()
        for end in (self.client, self.server):
            end.receive_eof(self.now)
        self._collect()

    def go_dead(self) -> None:
        """Let all bytes vanish from here on, with nobody told."""
        self.to_server.dead = self.to_client.dead = True

    def advance(self, seconds: float) -> None:
        """Let time pass; both ends do what is due, at their deadlines."""
        until = self.now + seconds
        ends = (self.client, self.server)
        while due := [end for end in ends if end.deadline is not None and end.deadline <= until]:
            end = min(due, key=lambda one: one.deadline or 0.0)
            deadline = end.deadline
            assert deadline is not None
            self.now = max(self.now, deadline)
            end.tick(self.now)
            self.exchange()
            assert end.deadline != deadline, "tick did not do what was due"
        self.now = until
        for end in ends:
            end.tick(self.now)
        self.exchange()

    # Inside

    def _carry_to_server(self) -> bool:
        data = self.client.data_to_send(self.now)
        self.client_said += packets_in(data)
        self.to_server.data += data
        arrived = self.to_server.take(next(self._sizes))
        if arrived:
            self.server.receive_data(arrived, self.now)
        self._collect()
        return bool(arrived)

    def _carry_to_client(self) -> bool:
        data = self.server.data_to_send(self.now)
        self.server_said += packets_in(data)
        self.to_client.data += data
        arrived = self.to_client.take(next(self._sizes))
        if arrived:
            self.client.receive_data(arrived, self.now)
        self._collect()
        return bool(arrived)

    def _collect(self) -> None:
        """Let both programs learn what happened, and answer."""
        while (event := self.client.next_event()) is not None:
            self.client_events.append(event)
            if isinstance(event, MessageReceived):
                self._acknowledge(self.client, event)
        while (event := self.server.next_event()) is not None:
            self.server_events.append(event)
            if isinstance(event, MessageReceived):
                self._acknowledge(self.server, event)
            elif self.server.state is not State.CLOSED:
                self._answer(event)

    def _acknowledge(self, end: Endpoint, message: MessageReceived) -> None:
        if message.packet_id is not None and end.state is State.CONNECTED:
            end.acknowledge(message.packet_id)

    def _answer(self, event: Event) -> None:
        match event:
            case ConnectReceived(connect):
                kept = None if connect.clean_session else self.server_session
                present = kept is not None
                self.server_session = kept or Session()
                self.server.accept(self.now, session=self.server_session, session_present=present)
            case SubscribeReceived(packet_id, subscriptions):
                self.server.suback(packet_id, [wish.qos for wish in subscriptions])
            case UnsubscribeReceived(packet_id):
                self.server.unsuback(packet_id)
