"""Messages to one connected device: in order, locked for a minute, completed by PUBACK."""

from ..hub.service.queue import Ended, complete, redeliver
from ..hub.service.records import Record
from ..protocol import (
    State,
)
from .hub_connection import Completed, LockEnded
from .hub_issuing import Issuing


class Delivery(Issuing):
    """A connection whose device receives messages."""

    def deliver(self) -> None:
        """Send the messages of the record's queue that have not been sent yet."""
        protocol = self.link.protocol
        self.deliver_certificate()
        for message in self.record.queue.messages:
            if message.sequence in self._delivered or protocol.state is not State.CONNECTED:
                continue
            topic = message.topic(self.record.identity.device_id)
            packet_id = self._publish(topic, message.payload, 1)
            if packet_id is None:
                return  # it has not subscribed
            self._delivered.add(message.sequence)
            self.link.log("message %d to the device", message.sequence)
            if packet_id == 0:  # QoS 0: completed when it is sent
                self._take(Completed(message.sequence))
                continue
            self._sent[packet_id] = message.sequence
            self._set_timer(message.sequence)
        self.link.pump()

    def _acknowledged(self, packet_id: int) -> None:
        if self._unacknowledged[:1] != [packet_id]:
            self._end(f"PUBACK {packet_id} out of order")
            return
        del self._unacknowledged[0]
        self._certificate_acknowledged(packet_id)
        sequence = self._sent.pop(packet_id, None)
        if sequence is not None and sequence in self._delivered:
            timer = self._timers.pop(sequence, None)
            if timer is not None:
                timer.cancel()
            self._take(Completed(sequence))

    async def _complete(self, sequence: int) -> None:
        """Take a message out of the queue: the device has acknowledged it."""
        if await self._is_struck("puback"):
            self._set_timer(sequence)
            return
        await self._hub.end_messages(self._key, lambda record, _: complete(record.queue, sequence))
        self._delivered.discard(sequence)

    async def _deliver_again(self, sequence: int) -> None:
        """Put a message back whose lock has ended, and send it again."""
        counted = self._hub.settings.count_deliveries

        def how(record: Record, now: float) -> Ended:
            return redeliver(record.queue, sequence, counted=counted)

        await self._hub.end_messages(self._key, how)
        self._delivered.discard(sequence)
        self.deliver()

    def _set_timer(self, sequence: int) -> None:
        def due() -> None:
            self._timers.pop(sequence, None)
            self._take(LockEnded(sequence))

        seconds = self._hub.settings.lock_seconds
        self._timers[sequence] = self.link.loop.call_later(seconds, due)
