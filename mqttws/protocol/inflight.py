"""Packet identifiers, and exchanges that have begun and not ended (MQTT 3.1.1 sections 2.3.1, 4.3).

Knows which packets must be sent again on a new connection and which messages were seen already.
Does not know connections, buffers or time.
"""

from collections import deque
from collections.abc import Iterator

from ..errors import UnexpectedPacket, UsageError
from ..wire import Publish, PubRel


class Session:
    """What outlives a connection (section 4.1): unfinished exchanges of QoS 1 and 2, subscriptions.

    Attributes:
        outgoing: by packet identifier, in sending order: the PUBLISH that waits for PUBACK or
            PUBREC, or the PUBREL that waits for PUBCOMP.
        received: identifiers of QoS 2 messages that were handed over and not yet released.
        granted: at the server, the client's topic filters and the QoS that each was granted.
    """

    __slots__ = ("_last_id", "granted", "outgoing", "received")

    def __init__(self) -> None:
        self.outgoing: dict[int, Publish | PubRel] = {}
        self.received: set[int] = set()
        self.granted: dict[str, int] = {}
        self._last_id = 0

    def clear(self) -> None:
        """Forget everything, as CleanSession 1 asks [MQTT-3.1.2-6]."""
        self.outgoing.clear()
        self.received.clear()
        self.granted.clear()

    def next_packet_id(self, also_taken: dict[int, object]) -> int:
        """Return an identifier that is not in flight [MQTT-2.3.1-2].

        Args:
            also_taken: identifiers in use by exchanges that end with the connection.

        Raises:
            UsageError: all 65535 are in flight.
        """
        if len(self.outgoing) + len(also_taken) >= 65535:
            raise UsageError(
                "all 65535 packet identifiers are in flight",
                rule="MQTT-2.3.1-2",
                hint="wait until the peer has acknowledged some",
            )
        packet_id = self._last_id
        while True:
            packet_id = packet_id % 65535 + 1
            if packet_id not in self.outgoing and packet_id not in also_taken:
                self._last_id = packet_id
                return packet_id

    def puback(self, packet_id: int) -> None:
        """Close a QoS 1 exchange."""
        self._expect(packet_id, 1, "PUBACK")
        del self.outgoing[packet_id]

    def pubrec(self, packet_id: int) -> PubRel:
        """Take the second step of a QoS 2 exchange and return the third.

        PUBRELs are kept in the order of the PUBRECs [MQTT-4.6.0-4], and from here on the PUBLISH
        is not sent again [MQTT-4.3.3-1].
        """
        waiting = self.outgoing.get(packet_id)
        if not isinstance(waiting, PubRel):  # a repeated PUBREC only gets its PUBREL again
            self._expect(packet_id, 2, "PUBREC")
            del self.outgoing[packet_id]
            waiting = self.outgoing[packet_id] = PubRel(packet_id)
        return waiting

    def pubcomp(self, packet_id: int) -> bool:
        """Close a QoS 2 exchange; return whether it was open.

        It may be closed already: a repeated PUBREC brings a second PUBREL and PUBCOMP.
        """
        waiting = self.outgoing.get(packet_id)
        if isinstance(waiting, Publish):
            raise _unexpected("PUBCOMP", packet_id)
        return self.outgoing.pop(packet_id, None) is not None

    def _expect(self, packet_id: int, qos: int, packet_name: str) -> None:
        waiting = self.outgoing.get(packet_id)
        if not isinstance(waiting, Publish) or waiting.qos != qos:
            raise _unexpected(packet_name, packet_id)


class Arrivals:
    """Messages of QoS 1 and 2 that wait to be acknowledged, answered in the order of arrival.

    Acknowledging out of order is allowed; the answers still go out in order, each as soon as all
    before it are acknowledged too [MQTT-4.6.0-2, MQTT-4.6.0-3].
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[_Arrival] = deque()

    def add(self, packet_id: int, qos: int, *, done: bool = False) -> None:
        """Take a message in; ``done`` if it was acknowledged before and only needs its answer."""
        self._waiting.append(_Arrival(packet_id, qos, done))

    def acknowledge(self, packet_id: int) -> None:
        """Mark the oldest message with this identifier."""
        for arrival in self._waiting:
            if arrival.packet_id == packet_id and not arrival.done:
                arrival.done = True
                return
        raise UsageError(f"no message with packet identifier {packet_id} waits for an answer")

    def due(self) -> Iterator["_Arrival"]:
        """Take out those whose answer is due now."""
        while self._waiting and self._waiting[0].done:
            yield self._waiting.popleft()


class _Arrival:
    __slots__ = ("done", "packet_id", "qos")

    def __init__(self, packet_id: int, qos: int, done: bool) -> None:
        self.packet_id = packet_id
        self.qos = qos
        self.done = done


def _unexpected(packet_name: str, packet_id: int) -> UnexpectedPacket:
    return UnexpectedPacket(
        f"{packet_name} for packet identifier {packet_id}, which does not wait for one",
        rule="MQTT-2.3.1-6",
    )
