"""The server's end of an MQTT 3.1.1 connection, without I/O.

Knows what one client may say and when, which messages it asked for, and how it must be answered.
Does not know other clients, retained messages or stored sessions: who wants those keeps them.
"""

from typing import ClassVar

from ..errors import (
    HopTimedOut,
    KeepAliveExpired,
    MqttwsError,
    ProtocolError,
    UnexpectedPacket,
    UsageError,
)
from ..hops import Hop
from ..wire import (
    DEFAULT_MAX_PACKET_SIZE,
    REFUSED,
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
    UnsubAck,
    Unsubscribe,
    Will,
    matches,
)
from .endpoint import Endpoint, State, Table
from .events import ConnectReceived, SubscribeReceived, UnsubscribeReceived, WillDue
from .inflight import Session

GRACE = 1.5
"""A client may be silent for this many keep-alive intervals [MQTT-3.1.2-24]."""

MAX_EARLY_BYTES = 64 * 1024
"""Bytes beside one packet of the largest size that may wait behind CONNECT until it is judged."""


class ServerProtocol(Endpoint):
    """A server's connection to one client: answers and bytes in, events and bytes out.

    Args:
        now: when the connection came about, in seconds.
        connect_timeout: seconds within which CONNECT must come (U-11).
        max_packet_size: the largest packet in bytes that the client may send.
    """

    def __init__(
        self,
        now: float,
        *,
        connect_timeout: float = 10.0,
        max_packet_size: int = DEFAULT_MAX_PACKET_SIZE,
    ) -> None:
        super().__init__(max_packet_size=max_packet_size)
        self._opened_at = now
        self._connect_timeout = connect_timeout
        self._keep_alive = 0
        self._max_silence: float | None = None
        self._will: Will | None = None
        self._clean_session = True

    # Answers

    def accept(
        self,
        now: float,
        *,
        session_present: bool = False,
        session: Session | None = None,
        max_silence: float | None = None,
        max_packet_size: int | None = None,
    ) -> None:
        """Answer CONNECT with code 0, and read on.

        Args:
            now: seconds.
            session_present: whether an earlier session of this client goes on; only after
                CleanSession 0 [MQTT-3.2.2-1].
            session: what is kept of this client: its subscriptions hold, and what it is owed is
                sent again; cleared without ``session_present``.
            max_silence: seconds after which a silent client is given up, whatever its keep-alive
                interval says, and also without one; None for no such limit.
            max_packet_size: the largest packet in bytes from here on; None leaves it.
        """
        self._require_connecting("accept")
        if session_present and self._clean_session:
            raise UsageError("session present after CleanSession 1", rule="MQTT-3.2.2-1")
        self.session: Session = session or self.session
        if not session_present:  # CONNACK says so, and both begin afresh [MQTT-3.1.2-6]
            self.session.clear()
        self._max_silence = max_silence
        if max_packet_size is not None:
            self._decoder.set_max_packet_size(max_packet_size)
        self._send(ConnAck(session_present))
        self.state: State = State.CONNECTED
        self._last_received = now  # the time we took to judge is not the client's silence
        self._resend()
        try:
            self._read_packets(now)  # what the client sent without waiting for CONNACK (U-13)
        except ProtocolError as error:
            self._on_fault(error)

    def refuse(self, return_code: int) -> None:
        """Answer CONNECT with code 1 to 5 and close [MQTT-3.2.2-5]; handle nothing further."""
        self._require_connecting("refuse")
        if not 1 <= return_code <= 5:
            raise UsageError(f"CONNACK code {return_code} to refuse with; allowed: 1 to 5")
        self._send(ConnAck(return_code=return_code))
        self._close(None)

    def suback(self, packet_id: int, return_codes: list[int]) -> None:
        """Answer a SUBSCRIBE: for each filter the granted QoS, or ``REFUSED``.

        An identical filter replaces its subscription [MQTT-3.8.4-3].
        """
        self._require_connected("suback")
        request = self._requests.get(packet_id)
        if not isinstance(request, Subscribe):
            raise UsageError(f"suback: no SUBSCRIBE {packet_id} waits for an answer")
        if len(return_codes) != len(request.subscriptions):  # [MQTT-3.8.4-5]
            raise UsageError(
                f"suback: {len(return_codes)} codes for {len(request.subscriptions)} filters",
                rule="MQTT-3.8.4-5",
            )
        self._send(SubAck(packet_id, return_codes))
        del self._requests[packet_id]
        for asked, code in zip(request.subscriptions, return_codes, strict=True):
            if code != REFUSED:
                self.session.granted[asked.topic_filter] = code

    def unsuback(self, packet_id: int) -> None:
        """Answer an UNSUBSCRIBE; its filters are deleted, compared exactly [MQTT-3.10.4-1]."""
        self._require_connected("unsuback")
        request = self._requests.get(packet_id)
        if not isinstance(request, Unsubscribe):
            raise UsageError(f"unsuback: no UNSUBSCRIBE {packet_id} waits for an answer")
        del self._requests[packet_id]
        for topic_filter in request.topic_filters:
            self.session.granted.pop(topic_filter, None)
        self._send(UnsubAck(packet_id))

    def publish(self, topic: str, payload: bytes = b"", qos: int = 0, retain: bool = False) -> bool:
        """Send a message if the client has asked for it; return whether it had.

        It goes out at the lower of ``qos`` and what was granted [MQTT-3.8.4-6], once, however many
        filters match [MQTT-3.3.5-1]. ``retain`` is only for a message that was kept and goes to a
        new subscription [MQTT-3.3.1-8, MQTT-3.3.1-9].
        """
        self._require_connected("publish")
        granted = [code for name, code in self.session.granted.items() if matches(name, topic)]
        if not granted:  # [MQTT-3.3.2-3]
            return False
        self._send_publish(topic, payload, min(qos, max(granted)), retain)
        return True

    def close(self, error: MqttwsError | None = None) -> None:
        """End the connection from our side; ``error`` says why, for the reader of the events."""
        if self.state is not State.CLOSED:
            self._close(error)

    # Bytes and time

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the client, cut anywhere."""
        if self.state is State.CONNECTING:  # the driver has the event, and has not answered yet
            waiting = self._decoder.buffered + len(data)
            limit = self._decoder.max_packet_size + MAX_EARLY_BYTES
            if waiting > limit:
                self._on_fault(
                    UnexpectedPacket(
                        f"{waiting} bytes behind CONNECT before its answer; allowed: {limit}",
                        rule="U-13",
                    )
                )
        super().receive_data(data, now)

    @property
    def deadline(self) -> float | None:
        """The latest time for the next ``tick``."""
        if self.state is State.NEW:
            return self._opened_at + self._connect_timeout
        if self.state is State.CONNECTED:
            silence = self._keep_alive * GRACE or self._max_silence
            if silence and self._max_silence:
                silence = min(silence, self._max_silence)
            if silence:
                return self._last_received + silence
        return None  # keep-alive 0 turns the mechanism off (U-16)

    def tick(self, now: float) -> None:
        """Give up a client that has been silent for too long."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return
        if self.state is State.NEW:
            self._close(
                HopTimedOut(f"no CONNECT within {self._connect_timeout:g} s", hop=Hop.CONNECT)
            )
        else:
            self._close(
                KeepAliveExpired(
                    f"no packet for {now - self._last_received:.1f} s"
                    f" with keep-alive {self._keep_alive} s"
                )
            )

    # What the client says

    def _on_connect(self, packet: Connect, now: float) -> None:
        self.state = State.CONNECTING
        self._keep_alive = packet.keep_alive
        self._clean_session = packet.clean_session
        self._will = packet.will
        if not packet.client_id and not packet.clean_session:  # [MQTT-3.1.3-8]
            self.refuse(2)
            return
        self._events.append(ConnectReceived(packet))

    def _on_subscribe(self, packet: Subscribe, now: float) -> None:
        self._keep_request(packet)
        self._events.append(SubscribeReceived(packet.packet_id, packet.subscriptions))

    def _on_unsubscribe(self, packet: Unsubscribe, now: float) -> None:
        self._keep_request(packet)
        self._events.append(UnsubscribeReceived(packet.packet_id, packet.topic_filters))

    def _keep_request(self, packet: Subscribe | Unsubscribe) -> None:
        if packet.packet_id in self._requests:
            raise UnexpectedPacket(
                f"packet identifier {packet.packet_id} again, before its first answer",
                rule="MQTT-2.3.1-2",
            )
        self._requests[packet.packet_id] = packet

    def _on_pingreq(self, packet: PingReq, now: float) -> None:
        self._send(PingResp())

    def _on_disconnect(self, packet: Disconnect, now: float) -> None:
        self._will = None  # [MQTT-3.14.4-3]
        self._close(None)

    # Inside

    def _rule_of_unexpected(self, packet: Packet) -> str:
        if isinstance(packet, Connect):
            return "MQTT-3.1.0-2"
        return "MQTT-3.1.0-1" if self.state is State.NEW else "MQTT-4.8.0-1"

    def _on_fault(self, error: ProtocolError) -> None:
        if error.rule == "MQTT-3.1.2-2" and self.state is State.NEW:  # a wrong level is answered
            self._send(ConnAck(return_code=1))
        self._close(error)

    def _close(self, error: MqttwsError | None) -> None:
        # Only an accepted connection's will counts [MQTT-3.1.2-8], and once [MQTT-3.1.2-10].
        if self.state is State.CONNECTED and self._will is not None:
            self._events.append(WillDue(self._will))
        super()._close(error)

    def _require_connecting(self, intent: str) -> None:
        if self.state is not State.CONNECTING:
            raise UsageError(f"{intent}: no CONNECT waits for an answer")

    # Packets behind CONNECT wait until it is judged: a refused client has no effect [MQTT-3.1.4-5],
    # and CONNACK is the first answer [MQTT-3.2.0-1].
    HOLDS_READING_IN: ClassVar[State | None] = State.CONNECTING

    TABLE: ClassVar[Table] = {
        State.NEW: {
            Connect: _on_connect,
        },
        State.CONNECTED: {
            Publish: Endpoint._on_publish,
            PubAck: Endpoint._on_puback,
            PubRec: Endpoint._on_pubrec,
            PubRel: Endpoint._on_pubrel,
            PubComp: Endpoint._on_pubcomp,
            Subscribe: _on_subscribe,
            Unsubscribe: _on_unsubscribe,
            PingReq: _on_pingreq,
            Disconnect: _on_disconnect,
        },
    }
