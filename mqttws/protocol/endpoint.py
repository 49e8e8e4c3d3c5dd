"""The common part of both ends of a connection: states, buffers, time, message delivery.

Bytes and seconds go in, events and bytes come out. ``now`` is any monotonic number of seconds; no
clock is read here and nothing is random. A peer's fault never escapes ``receive_data``: the
connection closes and the error comes out in ``ConnectionClosed``. A ``UsageError`` is raised to the
caller and changes nothing.

Which packet may arrive in which state is one table per end, at the end of ``client.py`` and of
``server.py``.
"""

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, ClassVar

from ..errors import ConnectionLost, MqttwsError, ProtocolError, UnexpectedPacket, UsageError
from ..wire import (
    DEFAULT_MAX_PACKET_SIZE,
    Decoder,
    Packet,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
)
from .arrivals import Arrivals
from .events import (
    AnswerIgnored,
    ConnectionClosed,
    Event,
    MessageDiscarded,
    MessageReceived,
    PublishCompleted,
)
from .inflight import Session, digest_of


class State(Enum):
    """A connection's state."""

    NEW = "new"
    """No CONNECT yet."""
    CONNECTING = "connecting"
    """CONNECT without its CONNACK."""
    CONNECTED = "connected"
    """CONNACK 0 has been sent or received."""
    CLOSED = "closed"
    """Over: nothing more is read, and nothing more is sent than what already waits."""


Handler = Callable[[Any, Any, float], None]
Table = Mapping[State, Mapping[type[Packet], Handler]]
"""For each state the packets that may arrive in it, and who handles them."""


class Endpoint:
    """One end of one MQTT connection, without I/O.

    Args:
        max_packet_size: the largest packet in bytes that the peer may send.
        session: exchanges of an earlier connection that go on; None begins afresh.
        strict: whether an acknowledgement that fits nothing, or DUP with QoS 0, ends the
            connection. The standard does not ask for that, and a peer that deviates once does so
            after each reconnect.
        discard_oversized: whether a PUBLISH over ``max_packet_size`` is acknowledged without its
            payload (``MessageDiscarded``), and does not end the connection.
    """

    TABLE: ClassVar[Table]
    HOLDS_READING_IN: ClassVar[State | None] = None
    """The state in which packets that have arrived must wait; None for none."""

    def __init__(
        self,
        *,
        max_packet_size: int = DEFAULT_MAX_PACKET_SIZE,
        session: Session | None = None,
        strict: bool = True,
        discard_oversized: bool = False,
    ) -> None:
        self.state: State = State.NEW
        self.session: Session = session or Session()
        self._strict = strict
        self._discarding = discard_oversized
        self._decoder = Decoder(max_packet_size, strict, discard_oversized)
        self._arrivals = Arrivals()
        self._requests: dict[int, Any] = {}  # packet ids that end with the connection
        self._outbox: list[bytes] = []
        self._owed: deque[int | bytes] = deque()  # to be sent again, ahead of the outbox
        self._owed_is_new = False  # whether the peer has lost the session: no DUP then
        self._events: deque[Event] = deque()
        self._last_sent = 0.0
        self._last_received = 0.0

    # Bytes, time and events

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the peer, cut anywhere."""
        if self.state is State.CLOSED:  # WS-57
            return
        try:
            self._decoder.feed(data)
            self._read_packets(now)
        except ProtocolError as error:
            self._on_fault(error)

    def receive_eof(self, now: float, cause: MqttwsError | None = None) -> None:
        """Handle the end of the peer's bytes; ``cause`` is the transport's reason for it."""
        if self.state is not State.CLOSED:
            self._close(cause or ConnectionLost("the peer closed the connection"))

    def next_event(self) -> Event | None:
        """Return the next thing that happened, or None."""
        return self._events.popleft() if self._events else None

    @property
    def has_data(self) -> bool:
        """Whether ``data_to_send`` has something to return."""
        return bool(self._outbox or self._owed)

    def data_to_send(self, now: float, at_most: int | None = None) -> bytes:
        """Return the bytes that are to be sent now, each once.

        Args:
            now: seconds.
            at_most: the size in bytes at which to stop, after whole packets and one at least; the
                next call returns what follows. None returns everything.
        """
        if self._owed:
            return self._owed_to_send(now, at_most)
        outbox = self._outbox
        if not outbox:
            return b""
        data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
        if at_most is not None and len(data) > at_most and len(outbox) > 1:
            size = count = 0
            while not count or size + len(outbox[count]) <= at_most:
                size += len(outbox[count])
                count += 1
            data = b"".join(outbox[:count])
            del outbox[:count]
        else:
            outbox.clear()
        self._last_sent = now
        return data

    def _owed_to_send(self, now: float, at_most: int | None) -> bytes:
        """Return what is sent again.

        Each PUBLISH is marked with DUP [MQTT-3.3.1-1], unless the peer has lost the session. It is
        encoded when it is sent, so that it takes no room meanwhile.
        """
        parts: list[bytes] = []
        size = 0
        while self._owed:
            part = self._owed[0]
            if not isinstance(part, bytes):
                packet = self.session.outgoing.get(part)
                part = b"" if packet is None else self._again(packet).encode()
            if size and at_most is not None and size + len(part) > at_most:
                break
            size += len(part)
            parts.append(part)
            self._owed.popleft()
        if not self._owed and (at_most is None or not size):
            parts.append(self.data_to_send(now, at_most))
        if size:
            self._last_sent = now
        return b"".join(parts)

    @property
    def deadline(self) -> float | None:
        """The latest time for the next ``tick``; None while nothing is awaited."""
        raise NotImplementedError

    def tick(self, now: float) -> None:
        """Do what is due at ``now``; calling too early or twice does no harm."""
        raise NotImplementedError

    # Messages, the same in both directions (section 4.3)

    def acknowledge(self, packet_id: int) -> None:
        """Tell the peer that a received message of QoS 1 or 2 is ours now.

        Answers go out in the order in which the messages came, however they are acknowledged.

        Raises:
            UsageError: no such message waits.
        """
        self._require_connected("acknowledge")
        if self._arrivals.acknowledge(packet_id) == 2:
            self.session.hand_over(packet_id)
        self._answer_arrivals()

    def acknowledge_earlier(self, packet_id: int) -> None:
        """Take over a QoS 2 message that came on an earlier connection of the same session.

        Nothing is sent for it but the answer to a repeat, if one waits or comes. (A message of QoS
        1 has no such way: the peer sends it again.) Allowed in every state.
        """
        self.session.hand_over(packet_id)
        self._arrivals.acknowledge_repeats(packet_id)
        if self.state is State.CONNECTED:
            self._answer_arrivals()

    def _send_publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> int | None:
        packet_id = self.session.next_packet_id(self._requests) if qos else None
        packet = Publish(topic, payload, qos, retain, False, packet_id)
        encoded = packet.encode()  # a UsageError leaves nothing behind
        if packet_id is not None:
            self.session.put(packet_id, packet)
        self._outbox.append(encoded)
        return packet_id

    def _resend(self, *, anew: bool = False) -> None:
        """Have what the session still owes sent, in its order and with its identifiers.

        [MQTT-4.4.0-1, MQTT-4.6.0-1]
        """
        self._owed_is_new = anew
        self.session.end_connection()
        if self.session.outgoing:
            self._owed.extend(self._outbox)  # CONNACK stays ahead of it
            self._outbox.clear()
            self._owed.extend(self.session.outgoing)

    def _again(self, packet: Publish | PubRel) -> Publish | PubRel:
        if isinstance(packet, PubRel) or self._owed_is_new:
            return packet
        return Publish(
            packet.topic, packet.payload, packet.qos, packet.retain, True, packet.packet_id
        )

    def _on_publish(self, packet: Publish, now: float) -> None:
        packet_id = packet.packet_id
        if self._discarding and (size := self._decoder.take_discarded()):
            self._discard(packet, size)
            return
        if packet_id is not None:
            if packet.qos == 2 and not self.session.receive(packet_id, digest_of(packet)):
                # Seen before: not handed out again [MQTT-4.3.3-2], and answered in its turn, once
                # the first has been handed over.
                done = packet_id not in self.session.unread
                self._arrivals.add(packet_id, 2, repeat=True, done=done)
                self._answer_arrivals()
                return
            self._arrivals.add(packet_id, packet.qos)
        self._events.append(
            MessageReceived(
                packet.topic, packet.payload, packet.qos, packet.retain, packet.dup, packet_id
            )
        )

    def _discard(self, packet: Publish, size: int) -> None:
        """Acknowledge a message that is too large to be handed out."""
        if packet.packet_id is not None:
            if packet.qos == 2 and self.session.receive(packet.packet_id, None):
                self.session.hand_over(packet.packet_id)
            self._arrivals.add(packet.packet_id, packet.qos, done=True)
            self._answer_arrivals()
        self._events.append(MessageDiscarded(packet.topic, size, packet.qos))

    def _answer_arrivals(self) -> None:
        for arrival in self._arrivals.due():
            self._send(PubAck(arrival.packet_id) if arrival.qos == 1 else PubRec(arrival.packet_id))

    def _on_puback(self, packet: PubAck, now: float) -> None:
        packet_id = packet.packet_id
        if self._strict:
            waiting = self.session.outgoing.get(packet_id)
            if isinstance(waiting, Publish) and waiting.qos == 2:
                raise UnexpectedPacket(f"PUBACK for QoS 2 message {packet_id}", rule="MQTT-2.3.1-6")
        try:
            qos = self.session.puback(packet_id)
        except UnexpectedPacket as error:
            self._on_misfit(packet_id, error)
            return
        self._events.append(
            PublishCompleted(packet_id) if qos == 1 else PublishCompleted(packet_id, True)
        )

    def _on_pubrec(self, packet: PubRec, now: float) -> None:
        try:
            release = self.session.pubrec(packet.packet_id)
        except UnexpectedPacket as error:
            self._on_misfit(packet.packet_id, error)
            release = PubRel(packet.packet_id)  # the peer holds an identifier: free it
        self._send(release)

    def _on_pubrel(self, packet: PubRel, now: float) -> None:
        # An unknown identifier is answered too: after a lost PUBCOMP the peer asks again.
        self.session.release(packet.packet_id)
        self._send(PubComp(packet.packet_id))

    def _on_pubcomp(self, packet: PubComp, now: float) -> None:
        try:
            was_open = self.session.pubcomp(packet.packet_id)
        except UnexpectedPacket as error:
            self._on_misfit(packet.packet_id, error)
            return
        if was_open:
            self._events.append(PublishCompleted(packet.packet_id))

    def _on_misfit(self, packet_id: int, error: UnexpectedPacket) -> None:
        """Report an acknowledgement that fits nothing; where that was chosen, end for it."""
        if self._strict:
            raise error
        self._events.append(AnswerIgnored(packet_id, error))

    # Inside

    def _read_packets(self, now: float) -> None:
        next_packet = self._decoder.next_packet
        state: State | None = None
        handlers: Mapping[type[Packet], Handler] = {}
        while True:
            if self.state is not state:  # hot: looking an Enum up costs as much as decoding
                state = self.state
                if state is State.CLOSED or state is self.HOLDS_READING_IN:
                    return
                handlers = self.TABLE[state]
            packet = next_packet()
            if packet is None:
                return
            self._last_received = now
            handler = handlers.get(type(packet))
            if handler is None:
                raise UnexpectedPacket(
                    f"{type(packet).__name__} while the connection is {self.state.value}",
                    rule=self._rule_of_unexpected(packet),
                )
            handler(self, packet, now)

    def _rule_of_unexpected(self, packet: Packet) -> str:
        """Return the statement that a packet breaks which may not come in this state."""
        raise AssertionError("each end has its own")

    def _on_fault(self, error: ProtocolError) -> None:
        """End the connection for the peer's fault [MQTT-4.8.0-1]."""
        self._close(error)

    def _send(self, packet: Packet) -> None:
        self._outbox.append(packet.encode())

    def _close(self, error: MqttwsError | None) -> None:
        self.state = State.CLOSED
        self._events.append(ConnectionClosed(error))

    def _require_connected(self, intent: str) -> None:
        if self.state is not State.CONNECTED:
            raise UsageError(f"{intent}: the connection is {self.state.value}, not connected")
