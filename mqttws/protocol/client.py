"""The client's end of an MQTT 3.1.1 connection, without I/O.

Knows what a client may say and when, and what the server's packets mean. The driver moves the
bytes, reads the clock, calls ``tick`` at ``deadline``, and hands the events out.
"""

from typing import ClassVar

from ..errors import HopTimedOut, KeepAliveExpired, UnexpectedPacket, UsageError
from ..hops import Hop
from ..wire import (
    DEFAULT_MAX_PACKET_SIZE,
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
)
from .endpoint import Endpoint, State, Table
from .events import (
    Connected,
    ConnectRejected,
    PublishRestarted,
    RequestFailed,
    SubscribeCompleted,
    UnsubscribeCompleted,
)
from .inflight import Session

PING_AFTER = 0.75
"""PINGREQ goes out after this part of the keep-alive: a timer may be late, the limit may not."""

PING_ANSWER_WITHIN = 0.5
"""PINGRESP is awaited for this part of the keep-alive: a dead link is noticed after 1.25 of it."""

LOOK_EVERY = 0.0625
"""While PINGREQ is under way, ``note_acknowledged`` is due after each such part of the keep-alive.
"""

SLOWEST_READER = 20_000
"""Bytes per second at which a peer is expected to read a message at least."""

PEER_BUFFER = 256 * 1024
"""Bytes that a peer's TCP may have acknowledged and its program not read yet."""


class ClientProtocol(Endpoint):
    """A client's connection: intents and bytes in, events and bytes out.

    Args:
        connect: the CONNECT packet to open with; its keep-alive is kept from here on.
        session: exchanges of an earlier connection that go on; None begins afresh.
        max_packet_size: the largest packet in bytes that the server may send.
        answer_timeout: seconds within which CONNACK must come (U-14).
        strict: as for ``Endpoint``.
        discard_oversized: as for ``Endpoint``.
        resend: whether the session's exchanges are sent again at CONNACK, or on ``resend_rest``.
        pipelined: whether ``publish`` and ``subscribe`` are allowed before CONNACK, as a client may
            (MQTT 3.1.1 section 3.1.4, non-normative): a round trip less. For clean sessions.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        session: Session | None = None,
        max_packet_size: int = DEFAULT_MAX_PACKET_SIZE,
        answer_timeout: float = 30.0,
        strict: bool = False,
        discard_oversized: bool = False,
        resend: bool = True,
        pipelined: bool = False,
    ) -> None:
        super().__init__(
            max_packet_size=max_packet_size,
            session=session,
            strict=strict,
            discard_oversized=discard_oversized,
        )
        if pipelined and not connect.clean_session:
            raise UsageError("pipelined: allowed with clean_session=True only")
        self._pipelined = pipelined
        self._connect = connect
        self._answer_timeout = answer_timeout
        self._ping_sent_at: float | None = None  # or its last sign of getting through
        self._ping_began = 0.0
        self._ping_limit = connect.keep_alive * PING_ANSWER_WITHIN
        self._acknowledged = 0  # bytes, of what the connection's TCP has sent
        self._acknowledged_at_ping = 0
        self._ping_ends_at: int | None = None  # in the same count; -1: not known yet, None: through
        self._reading = True
        self._looked_at = 0.0  # when ``note_acknowledged`` was called last
        self._resend_at_once = resend
        self._held_back: list[int | bytes] = []

    # Intents

    @property
    def opening(self) -> Connect:
        """The CONNECT packet that opens the connection."""
        return self._connect

    def connect(self, now: float) -> None:
        """Ask the server for the connection; ``Connected`` or ``ConnectRejected`` follows."""
        if self.state is not State.NEW:  # [MQTT-3.1.0-2]
            raise UsageError("connect: a connection is opened once", rule="MQTT-3.1.0-2")
        encoded = self._connect.encode()
        if self._connect.clean_session:  # [MQTT-3.1.2-6]
            self.session.clear()
        self._outbox.append(encoded)
        self._last_sent = now
        self.state: State = State.CONNECTING

    def publish(
        self, topic: str, payload: bytes = b"", qos: int = 0, retain: bool = False
    ) -> int | None:
        """Send a message; return the packet identifier that ``PublishCompleted`` will carry.

        With QoS 0 there is neither.
        """
        if self.state is not State.CONNECTED:
            self._require_connected("publish")
        if not qos:  # hot
            self._outbox.append(Publish(topic, payload, qos, retain, False, None).encode())
            return None
        return self._send_publish(topic, payload, qos, retain)

    def subscribe(self, subscriptions: list[Subscription]) -> int:
        """Ask for messages; return the packet identifier of ``SubscribeCompleted``."""
        self._require_connected("subscribe")
        packet_id = self.session.next_packet_id(self._requests)
        self._outbox.append(Subscribe(packet_id, subscriptions).encode())
        self._requests[packet_id] = len(subscriptions)
        return packet_id

    def unsubscribe(self, topic_filters: list[str]) -> int:
        """Send UNSUBSCRIBE; return the packet identifier of ``UnsubscribeCompleted``."""
        self._require_connected("unsubscribe")
        packet_id = self.session.next_packet_id(self._requests)
        self._outbox.append(Unsubscribe(packet_id, topic_filters).encode())
        self._requests[packet_id] = 0
        return packet_id

    def disconnect(self) -> None:
        """Leave: nothing more is sent after DISCONNECT [MQTT-3.14.4-2]."""
        if self.state is State.CLOSED:
            return
        if self.state is State.CONNECTED:
            self._send(Disconnect())
        self._close(None)

    # Bytes and time

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the server, cut anywhere.

        While PINGREQ waits, each of them is life: on a slow link PINGRESP stands behind all the
        messages that the server sent before it. Only silence gives a server up.
        """
        super().receive_data(data, now)
        if self._ping_sent_at is not None or self._decoder.unfinished:
            self._last_received = now
            self._ping_sent_at = None

    @property
    def deadline(self) -> float | None:
        """The latest time for the next ``tick``."""
        if self.state is State.CONNECTING:
            return self._last_sent + self._answer_timeout
        keep_alive = self._connect.keep_alive
        if self.state is not State.CONNECTED or not keep_alive:
            return None
        if self._ping_sent_at is not None:
            due = self._ping_sent_at + self._ping_patience
            if self._ping_ends_at is None or self._ping_ends_at < 0:
                return due
            return min(due, self._looked_at + keep_alive * LOOK_EVERY)
        if not self._reading:
            return self._last_sent + keep_alive * PING_AFTER
        # Sending alone does not show that the server lives, nor receiving that we do.
        return min(self._last_sent, self._last_received) + keep_alive * PING_AFTER

    def set_reading(self, reading: bool, now: float) -> None:
        """Note whether the driver takes the server's bytes.

        While it does not, PINGREQ still goes out, and a missing PINGRESP proves nothing.
        """
        if reading is self._reading:
            return
        self._reading = reading
        self._ping_sent_at = None
        self._last_received = now

    def note_acknowledged(self, total: int, waiting: int, now: float) -> None:
        """Note how far the connection's TCP has come: while a PINGREQ waits, progress is life.

        A long upload holds PINGREQ back, and with it PINGRESP. Bytes that the peer's TCP has
        acknowledged show that the link lives; bytes that our own kernel took show nothing. Once
        PINGREQ has got through, only its answer counts; the peer is given the time to read what
        its TCP may hold, at the rate that was seen.

        Args:
            total: bytes that the peer's TCP has acknowledged since the connection began.
            waiting: bytes that were written and are not among them.
            now: seconds.
        """
        self._looked_at = now
        more = total > self._acknowledged
        self._acknowledged = max(total, self._acknowledged)
        if self._ping_sent_at is None or self._ping_ends_at is None:
            return
        if self._ping_ends_at < 0:  # it has just been written
            self._ping_ends_at = total + waiting
            self._acknowledged_at_ping = total
        elif more:
            waited = now - self._ping_began
            rate = (total - self._acknowledged_at_ping) / max(waited, 0.001)
            usual = self._connect.keep_alive * PING_ANSWER_WITHIN
            self._ping_sent_at = now
            self._ping_limit = max(usual, min(waited, PEER_BUFFER / rate))
        if total >= self._ping_ends_at:
            self._ping_ends_at = None

    @property
    def _ping_patience(self) -> float:
        """Seconds for PINGRESP: it stands behind the acknowledgements of what was sent before.

        A peer whose TCP took all of a long message may be reading it still.
        """
        if self._ping_ends_at is not None:
            return self._ping_limit
        unanswered = sum(
            len(packet.payload)
            for packet in self.session.outgoing.values()
            if isinstance(packet, Publish)
        )
        return max(self._ping_limit, unanswered / SLOWEST_READER)

    def tick(self, now: float) -> None:
        """Send PINGREQ when it is due [MQTT-3.1.2-23]; give a silent server up (U-14, U-15)."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return
        if self.state is State.CONNECTING:
            self._close(
                HopTimedOut(
                    f"no CONNACK within {self._answer_timeout:g} s",
                    hop=Hop.CONNECT,
                    hint="the server took CONNECT and said nothing: ask its operator",
                )
            )
        elif self._ping_sent_at is not None:
            if now < self._ping_sent_at + self._ping_patience:
                return  # it was for ``note_acknowledged`` only
            self._close(
                KeepAliveExpired(
                    f"no PINGRESP within {now - self._ping_sent_at:.1f} s",
                    hint="the link is dead or the server hangs: connect again",
                )
            )
        else:
            self._send(PingReq())
            if self._reading:
                self._ping_sent_at = self._ping_began = now
                self._ping_limit = self._connect.keep_alive * PING_ANSWER_WITHIN
                self._ping_ends_at = -1
                self._looked_at = now
            else:
                self._last_sent = now

    # What the server says

    def _on_connack(self, packet: ConnAck, now: float) -> None:
        if packet.return_code:
            self._events.append(ConnectRejected(packet.return_code))
            self.state = State.CLOSED
            return
        if packet.session_present and self._connect.clean_session:
            raise UnexpectedPacket(
                "CONNACK says that a session is present after CleanSession 1", rule="MQTT-3.2.2-1"
            )
        self.state = State.CONNECTED
        self._events.append(Connected(packet.session_present))
        if self._pipelined:  # all that the session owes has been sent on this connection
            return
        if not packet.session_present:
            self.session.forget_received()
            self._events.extend(map(PublishRestarted, self.session.restart()))
        self._resend(anew=not packet.session_present)
        if not self._resend_at_once:
            self._held_back.extend(self._owed)
            self._owed.clear()

    def resend_rest(self, through: int | None = None) -> None:
        """Send again what was held back by the argument ``resend``.

        Args:
            through: packet identifier, 1 to 65535, of the last; without its exchange nothing is
                sent. None for all.
        """
        end = len(self._held_back)
        if through is not None:
            end = self._held_back.index(through) + 1 if through in self._held_back else 0
        self._owed.extend(self._held_back[:end])
        del self._held_back[:end]

    def _on_suback(self, packet: SubAck, now: float) -> None:
        expected = self._requests.get(packet.packet_id)
        if not expected:
            self._on_misfit(packet.packet_id, _unexpected("SUBACK", packet.packet_id))
            return
        del self._requests[packet.packet_id]
        if len(packet.return_codes) != expected:
            error = UnexpectedPacket(
                f"SUBACK with {len(packet.return_codes)} codes for {expected} filters",
                rule="MQTT-3.8.4-5",
            )
            if self._strict:
                raise error
            self._events.append(RequestFailed(packet.packet_id, error))
            return
        self._events.append(SubscribeCompleted(packet.packet_id, packet.return_codes))

    def _on_unsuback(self, packet: UnsubAck, now: float) -> None:
        if self._requests.get(packet.packet_id) != 0:
            self._on_misfit(packet.packet_id, _unexpected("UNSUBACK", packet.packet_id))
            return
        del self._requests[packet.packet_id]
        self._events.append(UnsubscribeCompleted(packet.packet_id))

    def _on_pingresp(self, packet: PingResp, now: float) -> None:
        self._ping_sent_at = None

    def _require_connected(self, intent: str) -> None:
        if self._pipelined and self.state is State.CONNECTING:
            return
        super()._require_connected(intent)

    def _rule_of_unexpected(self, packet: Packet) -> str:
        return "MQTT-3.2.0-1" if self.state is State.CONNECTING else "MQTT-4.8.0-1"

    TABLE: ClassVar[Table] = {
        State.NEW: {},
        State.CONNECTING: {
            ConnAck: _on_connack,
        },
        State.CONNECTED: {
            Publish: Endpoint._on_publish,
            PubAck: Endpoint._on_puback,
            PubRec: Endpoint._on_pubrec,
            PubRel: Endpoint._on_pubrel,
            PubComp: Endpoint._on_pubcomp,
            SubAck: _on_suback,
            UnsubAck: _on_unsuback,
            PingResp: _on_pingresp,
        },
    }


def _unexpected(packet_name: str, packet_id: int) -> UnexpectedPacket:
    return UnexpectedPacket(
        f"{packet_name} for packet identifier {packet_id}, which does not wait for one",
        rule="MQTT-2.3.1-7",
    )
