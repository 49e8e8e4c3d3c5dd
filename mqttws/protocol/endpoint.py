"""What both ends of a connection share: states, buffers, time, and the delivery of messages.

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
from .events import ConnectionClosed, Event, MessageReceived, PublishCompleted
from .inflight import Arrivals, Session


class State(Enum):
    """Where a connection stands."""

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
    """

    TABLE: ClassVar[Table]

    def __init__(
        self,
        *,
        max_packet_size: int = DEFAULT_MAX_PACKET_SIZE,
        session: Session | None = None,
    ) -> None:
        self.state = State.NEW
        self.session = session or Session()
        self._decoder = Decoder(max_packet_size)
        self._arrivals = Arrivals()
        self._requests: dict[int, Any] = {}  # packet ids that end with the connection
        self._outbox: list[bytes] = []
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
        """Learn that the peer's bytes have ended; ``cause`` is what the transport knows of why."""
        if self.state is not State.CLOSED:
            self._close(cause or ConnectionLost("the peer closed the connection"))

    def next_event(self) -> Event | None:
        """Return the next thing that happened, or None."""
        return self._events.popleft() if self._events else None

    def data_to_send(self, now: float) -> bytes:
        """Return the bytes that are to be sent now, each once."""
        if not self._outbox:
            return b""
        data = self._outbox[0] if len(self._outbox) == 1 else b"".join(self._outbox)
        self._outbox.clear()
        self._last_sent = now
        return data

    @property
    def deadline(self) -> float | None:
        """When ``tick`` wants to be called at the latest; None while nothing is awaited."""
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

    def _resend(self) -> None:
        """Send what the session still owes, in its order and with its identifiers.

        [MQTT-4.4.0-1, MQTT-4.6.0-1]
        """
        for packet in self.session.outgoing.values():
            if isinstance(packet, Publish):
                packet = Publish(  # noqa: PLW2901 - the same message, marked as sent again
                    packet.topic,
                    packet.payload,
                    packet.qos,
                    packet.retain,
                    True,  # DUP [MQTT-3.3.1-1]
                    packet.packet_id,
                )
            self._send(packet)

    def _on_publish(self, packet: Publish, now: float) -> None:
        packet_id = packet.packet_id
        if packet_id is not None:
            if packet.qos == 2 and not self.session.receive(packet_id):
                # Seen before: not handed out again [MQTT-4.3.3-2], and answered in its turn, once
                # the first has been handed over.
                done = packet_id not in self.session.unread
                self._arrivals.add(packet_id, 2, done=done)
                self._answer_arrivals()
                return
            self._arrivals.add(packet_id, packet.qos)
        self._events.append(
            MessageReceived(
                packet.topic, packet.payload, packet.qos, packet.retain, packet.dup, packet_id
            )
        )

    def _answer_arrivals(self) -> None:
        for arrival in self._arrivals.due():
            self._send(PubAck(arrival.packet_id) if arrival.qos == 1 else PubRec(arrival.packet_id))

    def _on_puback(self, packet: PubAck, now: float) -> None:
        self.session.puback(packet.packet_id)
        self._events.append(PublishCompleted(packet.packet_id))

    def _on_pubrec(self, packet: PubRec, now: float) -> None:
        self._send(self.session.pubrec(packet.packet_id))

    def _on_pubrel(self, packet: PubRel, now: float) -> None:
        # An unknown identifier is answered too: after a lost PUBCOMP the peer asks again.
        self.session.release(packet.packet_id)
        self._send(PubComp(packet.packet_id))

    def _on_pubcomp(self, packet: PubComp, now: float) -> None:
        if self.session.pubcomp(packet.packet_id):
            self._events.append(PublishCompleted(packet.packet_id))

    # Inside

    def _read_packets(self, now: float) -> None:
        state: State | None = None
        handlers: Mapping[type[Packet], Handler] = {}
        while self.state is not State.CLOSED and not self._holds_reading():
            packet = self._decoder.next_packet()
            if packet is None:
                return
            self._last_received = now
            if self.state is not state:  # hot: looking an Enum up costs as much as decoding
                state = self.state
                handlers = self.TABLE[state]
            handler = handlers.get(type(packet))
            if handler is None:
                raise UnexpectedPacket(
                    f"{type(packet).__name__} while the connection is {self.state.value}",
                    rule=self._rule_of_unexpected(packet),
                )
            handler(self, packet, now)

    def _holds_reading(self) -> bool:
        """Whether packets that have arrived must wait."""
        return False

    def _rule_of_unexpected(self, packet: Packet) -> str:
        """Return the statement that a packet breaks which may not come in this state."""
        return "MQTT-4.8.0-1"

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
