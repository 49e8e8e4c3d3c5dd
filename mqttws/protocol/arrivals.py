"""Messages that have come and wait for their answers, in the order of arrival.

Knows which answer is due. Does not know sessions, connections, buffers or time.
"""

from collections import deque
from collections.abc import Iterator

from ..errors import UsageError


class Arrivals:
    """Messages of QoS 1 and 2 that wait to be acknowledged, answered in the order of arrival.

    Acknowledging out of order is allowed; the answers still go out in order, each as soon as all
    before it are acknowledged too [MQTT-4.6.0-2, MQTT-4.6.0-3].
    """

    __slots__ = ("_by_id", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[_Arrival] = deque()
        self._by_id: dict[int, list[_Arrival]] = {}  # not acknowledged yet, the oldest first

    def add(self, packet_id: int, qos: int, *, repeat: bool = False, done: bool = False) -> None:
        """Take a message in.

        Args:
            packet_id: its identifier.
            qos: 1 or 2.
            repeat: whether it repeats one of QoS 2 that came before; it is acknowledged with it.
            done: whether that was acknowledged before, so that only the answer is due.
        """
        arrival = _Arrival(packet_id, qos, repeat, done)
        self._waiting.append(arrival)
        if done:
            return
        if packet_id in self._by_id:
            self._by_id[packet_id].append(arrival)
        else:
            self._by_id[packet_id] = [arrival]

    def acknowledge(self, packet_id: int) -> int:
        """Mark the oldest message with this identifier, and its repeats; return its QoS.

        Raises:
            UsageError: no such message waits.
        """
        same = self._by_id.get(packet_id)
        if not same:
            raise UsageError(f"no message with packet identifier {packet_id} waits for an answer")
        arrival = same[0]
        arrival.done = True
        if len(same) == 1:
            del self._by_id[packet_id]
        else:
            del same[0]
            self.acknowledge_repeats(packet_id)
        return arrival.qos

    def acknowledge_repeats(self, packet_id: int) -> None:
        """Mark the repeats of a message, up to the next message with this identifier."""
        same = self._by_id.get(packet_id, [])
        while same and same[0].repeat:
            same.pop(0).done = True
        if not same:
            self._by_id.pop(packet_id, None)

    def due(self) -> Iterator["_Arrival"]:
        """Take out those whose answer is due now."""
        while self._waiting and self._waiting[0].done:
            yield self._waiting.popleft()


class _Arrival:
    __slots__ = ("done", "packet_id", "qos", "repeat")

    def __init__(self, packet_id: int, qos: int, repeat: bool, done: bool) -> None:
        self.packet_id = packet_id
        self.qos = qos
        self.repeat = repeat
        self.done = done
