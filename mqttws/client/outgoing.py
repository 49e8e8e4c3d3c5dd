"""Publishes that have not ended: in the queue, or in flight.

Knows their order, how many may be in flight, how many there may be in all, and what a store must
know of the queue. Does not know why there is a connection or none.
"""

from collections import deque
from collections.abc import Callable

from ..errors import (
    ConnectionLost,
    DeliveryFailed,
    MqttwsError,
    QueueFull,
    StoreFailed,
)
from ..hops import Cause
from ..protocol import Session
from ..wire import Publish, PubRel
from .link import Link
from .receipt import Delivery, unknown
from .releases import Releases
from .room import Limits, Room
from .store import Failed, Queued, Step, Stored, Unqueued


class Outgoing:
    """The client's publishes that have not ended, oldest first.

    Args:
        limits: bounds on what is under way.

    Attributes:
        session: the exchanges of those in flight.
        room: how many there are, and how many there may be.
        queue: those that were never sent on this session, in order.
        in_flight: by packet identifier, those whose handshake has not ended.
        releases: handshakes that go on though their message was given up.
        free_link: the connection on which a message can be sent at once, since none waits before
            it; None otherwise.
        alone: the message before whose end no other is sent; None for none.
        held: whether that one was not sent either, and waits for ``let_go``.
        acquitted: those that went alone for long and were not answered: passed over from then on.
        on_queued: called when a message has been queued.
        recording: whether a store keeps the queue.
    """

    def __init__(self, limits: Limits) -> None:
        self.session: Session = Session()
        self.queue: deque[Delivery] = deque()
        self.in_flight: dict[int, Delivery] = {}
        self.releases: Releases = Releases()
        self.free_link: Link | None = None
        self.on_queued: Callable[[], None] | None = None
        self.recording = False
        self.room: Room = Room(limits)
        self._link: Link | None = None
        self.alone: Delivery | None = None
        self.held: bool = False
        self.acquitted: set[Delivery] = set()
        self._qos2 = 0  # of those in flight
        self._steps: list[Step] = []
        self._first = 1  # places in the queue that are taken: from _first up to _next
        self._next = 1
        self._failed = 0
        self._new_failed: dict[int, tuple[Publish, str]] = {}

    def __len__(self) -> int:
        return len(self.room)

    def require_room(self, delivery: Delivery, more: int = 0) -> None:
        """Refuse what would have to wait, beside ``more`` that are on their way here.

        Raises:
            QueueFull: nothing was sent.
        """
        self.room.require(more)
        link = self._link  # read once: other threads ask too
        if not delivery.qos and link is not None and link.blocked:
            raise QueueFull("the outbox is full: the server takes bytes too slowly")

    # The way out

    def submit(self, delivery: Delivery) -> None:
        """Send a message, or queue it behind those that wait; the caller has seen to the room.

        Raises:
            UsageError: it breaks a rule; nothing was sent or queued.
        """
        link = self.free_link
        # With QoS 0 the caller has seen to the outbox's room; it is done when it is in there.
        if (
            link is not None
            and (not link.blocked or not delivery.qos)
            and self._window_open(delivery.qos)
        ):
            self._send(link, delivery)
        else:
            delivery.packet.encode()  # what breaks a rule is refused now, not when it is sent
            delivery.number = self._next
            self._next += 1
            self.queue.append(delivery)
            self.free_link = None
            self.record(Queued(delivery.number, delivery.packet))
            if self.on_queued is not None:
                self.on_queued()
        if not delivery._done:
            self.room.enter(delivery)
            delivery.on_cancel = self.cancel
        delivery.accepted = True

    def attach(self, link: Link, alone: Delivery | None, *, held: bool) -> None:
        """Send what waits, and from now on what is submitted, on a connection.

        Args:
            link: the connection.
            alone: the message that is sent before any other, and until whose end none is; one that
                has ended meanwhile holds up none.
            held: whether it waits for ``let_go``.
        """
        self._link = link
        self.acquitted = {one for one in self.acquitted if not one.done or one.packet_id}
        self.alone = None if alone is None or (alone.done and not alone.packet_id) else alone
        self.held = held and self.alone is not None
        if self.alone is None:
            link.resend_rest()
            self.drain()
        elif not held:
            self.let_go()

    def let_go(self) -> None:
        """Send the message that was held back, if it has not ended meanwhile."""
        self.held = False
        if self._link is not None and self.alone is not None:
            if self.alone.packet_id:
                self._link.resend_rest(self.alone.packet_id)
            self.drain()

    def detach(self) -> None:
        """Queue what is submitted from now on: there is no connection."""
        self._link = self.free_link = self.alone = None

    def drain(self) -> None:
        """Send from the queue what the connection and the window take."""
        link = self._link
        if link is None:
            return
        queue = self.queue
        while queue and not link.blocked:
            delivery = queue[0]
            if not delivery._done and not self._window_open(delivery.qos, delivery):
                return
            queue.popleft()
            if delivery._done:  # it was cancelled
                continue
            self.record(Unqueued(delivery.number))
            delivery.number = 0
            self._send(link, delivery)
            if delivery._done:
                self.room.leave(delivery)
        if not queue and self.alone is None:
            self.free_link = link

    def _window_open(self, qos: int, delivery: Delivery | None = None) -> bool:
        if self.alone is not None:
            return not self.held and (delivery is self.alone or delivery in self.acquitted)
        if not qos:
            return True
        # A server whose window for QoS 2 is full may acknowledge QoS 1 too, and drop it: mosquitto.
        limits = self.room.limits
        return len(self.in_flight) < limits.in_flight and self._qos2 < limits.in_flight_qos2

    def _send(self, link: Link, delivery: Delivery) -> None:
        packet_id = link.publish(delivery.topic, delivery.payload, delivery.qos, delivery.retain)
        if packet_id is None:
            delivery._complete()
            return
        delivery.packet_id = packet_id
        delivery.sent = True
        self.in_flight[packet_id] = delivery
        if delivery.qos == 2:
            self._qos2 += 1

    # Ends

    def complete(self, packet_id: int, downgraded: bool) -> Delivery | None:
        """End what was in flight: the server has taken it over. ``drain`` is to follow."""
        delivery = self._land(packet_id)
        if delivery is None:
            release = self.releases.end(packet_id)
            if release is not None and release is self.alone:
                self.acquit()
            return None
        if downgraded:
            delivery.downgraded = True
        if not delivery._done:
            delivery._complete()
            self.room.leave(delivery)
        if delivery is self.alone:
            self.alone = None
            if self._link is not None:
                self._link.resend_rest()
        return delivery

    def acquit(self) -> None:
        """Send the others too, beside the one that went alone."""
        if self.alone is not None and (not self.alone.done or self.alone.packet_id):
            self.acquitted.add(self.alone)
        self.alone = None
        if self._link is not None:
            self._link.resend_rest()
            self.drain()

    def cancel(self, delivery: Delivery) -> None:
        """Give a message up for its publisher."""
        if delivery.number:
            self.record(Unqueued(delivery.number))
            delivery.number = 0
        elif delivery.packet_id:
            packet_id = delivery.packet_id
            self.session.abandon(packet_id)
            if self._link is None or self._is_held_back(delivery):
                self._withdraw(packet_id)
        delivery._complete(
            DeliveryFailed(
                f"publish to {delivery.topic!r}: cancelled",
                topic=delivery.topic,
                cause=Cause.CANCELLED,
            )
        )
        self.room.leave(delivery)
        if delivery is self.alone and not delivery.packet_id:
            self.acquit()
        if self.on_queued is not None:
            self.on_queued()

    def give_up(self, delivery: Delivery, reason: MqttwsError) -> None:
        """Fail a message for which the server ends one connection after another."""
        packet_id = delivery.packet_id
        if packet_id and isinstance(self.session.outgoing.get(packet_id), PubRel):
            self.session.drop(packet_id)  # to send PUBREL once more is what ends the connections
            self._land(packet_id)
            self.releases.end(packet_id)
        if delivery._done:
            return
        error = DeliveryFailed(
            f"publish to {delivery.topic!r}: given up, the server ends each connection for it:"
            f" {reason}",
            topic=delivery.topic,
            hint="it may be larger than the server allows, or the client may not publish there",
        )
        error.__cause__ = reason
        if delivery.packet_id:
            self.session.abandon(delivery.packet_id)
            self.end_connection()
        elif delivery.number:
            self.queue.remove(delivery)
            self.record(Unqueued(delivery.number))
        self._fail(delivery, error)

    def _fail(self, delivery: Delivery, error: MqttwsError) -> None:
        """End a message with an error; one without a waiting caller is kept in the failed list."""
        if not delivery.awaited:
            self._failed += 1
            self._new_failed[self._failed] = (delivery.packet, str(error))
            self.record(Failed(self._failed, delivery.packet, str(error)))
        delivery._complete(error)
        self.room.leave(delivery)

    def end(self, error: MqttwsError | None) -> tuple[int, int]:
        """End everything with the client, for ``error``; return how many were not sent, and sent.

        What was sent and not acknowledged ends in ``DeliveryUnknown``.
        """
        left = [one for one in (*self.in_flight.values(), *self.queue) if not one.done]
        sent = [one for one in left if one.sent and one.qos]
        why = "not acknowledged when the client " + (f"ended: {error}" if error else "was left")
        for delivery in left:
            if isinstance(error, StoreFailed):
                delivery._complete(error)
            elif delivery.sent:
                delivery._complete(unknown(delivery, why, error))
            else:
                text = f"publish to {delivery.topic!r}: not sent before the client was left"
                delivery._complete(error or ConnectionLost(text, cause=Cause.DISCONNECTED))
        self.in_flight.clear()
        self.queue.clear()
        self._qos2 = 0
        self.room.end(error or ConnectionLost("the client was disconnected while this waited"))
        return len(left) - len(sent), len(sent)

    # Sessions

    def load(self, stored: Stored) -> None:
        """Go on with what was stored."""
        session = self.session = stored.session
        for packet_id, packet in session.outgoing.items():
            message = packet if isinstance(packet, Publish) else session.accepted.get(packet_id)
            if message is None:
                session.abandoned.add(packet_id)
            if message is None or packet_id in session.abandoned:
                continue
            delivery = _delivery_of(message)
            delivery.packet_id = packet_id
            delivery.sent = True
            self.in_flight[packet_id] = delivery
            self._qos2 += delivery.qos == 2
        self.end_connection()
        for number, packet in stored.queue.items():
            delivery = _delivery_of(packet)
            delivery.number = number
            self.queue.append(delivery)
        if self.queue:
            self._first, self._next = self.queue[0].number, self.queue[-1].number + 1
        for delivery in (*self.in_flight.values(), *self.queue):
            self.room.enter(delivery)
        self._failed = max(stored.failed, default=0)

    def requeue(self, republish: bool, reason: MqttwsError | None) -> int:
        """Take back what is in flight, since the session ended with its connection.

        The messages go to the queue's head in their order, to be sent as new ones. One of QoS 2
        that the server had accepted may have been lost with the session, or have been delivered:
        with ``republish`` it is sent as a new one too (at least once), else its end is
        ``DeliveryUnknown``.

        Return how many accepted ones are sent again.
        """
        again = 0
        session = self.session
        for packet_id in reversed(session.outgoing):
            delivery = self._land(packet_id)
            if delivery is None or delivery._done:
                continue
            if not isinstance(session.outgoing[packet_id], Publish):
                if not republish:
                    why = "its connection was lost between PUBREC and PUBCOMP, without a session"
                    self._fail(delivery, unknown(delivery, why, reason))
                    continue
                again += 1
            self._first -= 1
            delivery.number = self._first
            self.queue.appendleft(delivery)
            self.record(Queued(delivery.number, delivery.packet))
        session.clear()
        self.releases.clear()
        return again

    def end_connection(self) -> None:
        """Go on without what was given up while it was in flight, but for its PUBREL."""
        for packet_id in list(self.session.abandoned):
            self._withdraw(packet_id)

    def oldest(self) -> Delivery | None:
        """Return the oldest that was sent and is to be answered, a release too; None for none."""
        sent = (self.in_flight.get(one) or self.releases.get(one) for one in self.session.outgoing)
        return next((one for one in sent if one not in self.acquitted), None)

    def take_failed(self) -> dict[int, tuple[Publish, str]]:
        """Return the messages that were given up since the last call, and why."""
        taken, self._new_failed = self._new_failed, {}
        return taken

    def take_steps(self) -> list[Step]:
        """Return what a store must know since the last call."""
        taken, self._steps = self._steps, []
        return taken

    # Inside

    def _is_held_back(self, delivery: Delivery) -> bool:
        """Tell whether it was not sent on this connection, and another message is awaited first."""
        sent = {self.alone, *self.acquitted}
        return self.alone is not None and (self.held or delivery not in sent)

    def _withdraw(self, packet_id: int) -> None:
        """Take out what was given up while its exchange stands still; PUBREL may be left of it."""
        delivery = self._land(packet_id)
        self.session.withdraw(packet_id)
        if packet_id in self.session.abandoned and packet_id not in self.releases:
            self.releases.add(packet_id, delivery.topic if delivery else "")

    def _land(self, packet_id: int) -> Delivery | None:
        delivery = self.in_flight.pop(packet_id, None)
        if delivery is not None:
            delivery.packet_id = 0
            if delivery.qos == 2:
                self._qos2 -= 1
        return delivery

    def record(self, step: Step) -> None:
        """Hand a step to the store."""
        if self.recording:
            self._steps.append(step)


def _delivery_of(packet: Publish) -> Delivery:
    delivery = Delivery(packet.topic, packet.payload, packet.qos, packet.retain)
    delivery.accepted = True
    return delivery
