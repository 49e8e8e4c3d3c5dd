"""Packet identifiers, and exchanges that have begun and not ended (MQTT 3.1.1 sections 2.3.1, 4.3).

Knows which packets must be sent again on a new connection and which messages were seen already.
Does not know connections, buffers or time.
"""

from typing import Literal, NamedTuple
from zlib import crc32

from ..errors import UnexpectedPacket, UsageError
from ..wire import Publish, PubRel


class Change(NamedTuple):
    """One step by which a session differs from what was stored of it.

    Attributes:
        kind: ``put`` (``packet`` is what the exchange waits with now), ``delete`` (it has ended),
            ``received`` (a QoS 2 message was handed over), ``released`` (its exchange has ended),
            ``forget`` (no received message counts any more), ``clear`` (no outgoing one does). A
            ``delete`` and a ``put`` of its PUBREL: a message of QoS 2 was given up, and must not
            be kept beside the PUBREL.
        packet_id: of the exchange; 0 where all are meant.
        packet: the PUBLISH or PUBREL of ``put``.
        digest: of ``received``: sets a repeat apart from another message; None if unknown.
    """

    kind: Literal["put", "delete", "received", "released", "forget", "clear"]
    packet_id: int = 0
    packet: Publish | PubRel | None = None
    digest: int | None = None


class Session:
    """A session (section 4.1): unfinished exchanges of QoS 1 and 2, and subscriptions.

    Attributes:
        outgoing: by packet identifier, in sending order: the PUBLISH that waits for PUBACK or
            PUBREC, or the PUBREL that waits for PUBCOMP.
        received: by packet identifier, QoS 2 messages that have come and were not yet released:
            each one's digest (``digest_of``), None where that is not known.
        unread: those of ``received`` that were not yet handed over. They need no store: until
            their PUBREC the peer keeps them too.
        accepted: by packet identifier, the messages that the peer has owned since its PUBREC and
            whose PUBREL waits for PUBCOMP: what is to be sent anew if the peer loses its session.
        abandoned: those of ``outgoing`` whose message was given up (``abandon``). The exchange
            goes on, so that the identifier stays taken, and the message is not sent again.
        unanswered: identifiers that stay taken though nothing is sent for them any more: the
            answer may still come.
        granted: at the server, the client's topic filters and the QoS that each was granted.
        changes: to be stored before the bytes that depend on them are sent; None
            where nothing is stored.

    Args:
        last_packet_id: 0 to 65535; the identifier after it is given out first. An end that
            remembers no exchanges starts at random: a peer that remembers some would otherwise
            take a new message for the repeat of one that it knows.
    """

    __slots__ = (
        "_last_id", "abandoned", "accepted", "changes", "granted", "outgoing", "received",
        "unanswered", "unread",
    )  # fmt: skip

    def __init__(self, last_packet_id: int = 0) -> None:
        self.outgoing: dict[int, Publish | PubRel] = {}
        self.accepted: dict[int, Publish] = {}
        self.abandoned: set[int] = set()
        self.unanswered: dict[int, None] = {}  # the oldest first
        self.received: dict[int, int | None] = {}
        self.unread: set[int] = set()
        self.granted: dict[str, int] = {}
        self.changes: list[Change] | None = None
        self._last_id = last_packet_id

    def take_changes(self) -> list[Change]:
        """Return what has changed since the last call; empty without a store."""
        if not self.changes:
            return []
        taken, self.changes = self.changes, []
        return taken

    def clear(self) -> None:
        """Forget everything, as CleanSession 1 asks [MQTT-3.1.2-6]."""
        if self.outgoing:
            self.outgoing.clear()
            self._record("clear")
        self.accepted.clear()
        self.abandoned.clear()
        self.unanswered.clear()
        self.forget_received()
        self.granted.clear()

    def begin_anew(self, last_packet_id: int) -> None:
        """Choose the next identifier afresh, where no exchange remembers the earlier ones."""
        self._last_id = last_packet_id % 65536

    def forget_received(self) -> None:
        """Forget what has come: the peer no longer knows what it was about to release."""
        if self.received:
            self.received.clear()
            self.unread.clear()
            self._record("forget")

    def put(self, packet_id: int, packet: Publish | PubRel) -> None:
        """Keep a packet until its answer comes, as the last to be sent again."""
        self.outgoing[packet_id] = packet
        if self.changes is not None:
            self.changes.append(Change("put", packet_id, packet))

    def receive(self, packet_id: int, digest: int | None) -> bool:
        """Take a QoS 2 message in; return whether it is new, and not a repeat [MQTT-4.3.3-2].

        Another message with an identifier that was not released is new: some servers count their
        identifiers afresh on each connection, and pass over those that are in use. Taken for a
        repeat, it would be acknowledged and lost.

        Args:
            packet_id: its identifier.
            digest: from ``digest_of``; None if its payload was not kept.
        """
        if packet_id in self.received:
            known = self.received[packet_id]
            if digest is None or known is None or digest == known:
                return False
        self.received[packet_id] = digest
        self.unread.add(packet_id)
        return True

    def hand_over(self, packet_id: int) -> None:
        """Note that a QoS 2 message belongs to the application now: PUBREC may be sent."""
        if packet_id in self.unread:
            self.unread.remove(packet_id)
            self._record("received", packet_id, digest=self.received[packet_id])

    def release(self, packet_id: int) -> None:
        """Close a QoS 2 exchange of the peer's; its identifier may carry another message."""
        if packet_id in self.received:
            del self.received[packet_id]
            self.unread.discard(packet_id)
            self._record("released", packet_id)

    def next_packet_id(self, also_taken: dict[int, object]) -> int:
        """Return an identifier that is not in flight [MQTT-2.3.1-2].

        Args:
            also_taken: identifiers in use by exchanges that end with the connection.

        Raises:
            UsageError: all 65535 are in flight.
        """
        unanswered = self.unanswered
        if len(self.outgoing) + len(also_taken) + len(unanswered) >= 65535:
            if not unanswered:
                raise UsageError(
                    "all 65535 packet identifiers are in flight",
                    rule="MQTT-2.3.1-2",
                    hint="wait until the peer has acknowledged some",
                )
            del unanswered[next(iter(unanswered))]  # an answer this old comes no more
        packet_id = self._last_id
        while True:
            packet_id = packet_id % 65535 + 1
            if packet_id not in self.outgoing and packet_id not in also_taken:
                if packet_id in unanswered:
                    continue
                self._last_id = packet_id
                return packet_id

    def abandon(self, packet_id: int) -> None:
        """Give a message up: its exchange goes on, and the message is not sent again.

        With QoS 2 the peer may hold the identifier, and would take another message under it for
        the repeat of this one, and drop it [MQTT-4.3.3-2]. So it is in use until PUBCOMP
        [MQTT-2.3.1-3], over connections and in the store. See ``withdraw``.
        """
        waiting = self.outgoing.get(packet_id)
        if waiting is None or packet_id in self.abandoned:
            return
        self.abandoned.add(packet_id)
        self.accepted.pop(packet_id, None)
        self._record("delete", packet_id)
        if _is_qos2(waiting):
            self._record("put", packet_id, PubRel(packet_id))

    def drop(self, packet_id: int) -> None:
        """End an exchange without its answer; the identifier stays taken while others are free."""
        waiting = self.outgoing.get(packet_id)
        if waiting is None:
            return
        self._close(packet_id, waiting)
        self.unanswered[packet_id] = None

    def end_connection(self) -> None:
        """Withdraw each message that was given up; its connection has ended."""
        for packet_id in list(self.abandoned):
            self.withdraw(packet_id)

    def withdraw(self, packet_id: int) -> None:
        """Leave a message that was given up not to be sent again; its exchange stands still.

        With QoS 2 only PUBREL is left to send, whether PUBREC had come or not. Sending the message
        again would undo the cancel; sending nothing would leave it with a peer that holds it, where
        it takes a place of the peer's window for ever. PUBREL ends both: a peer that holds the
        identifier releases it, and one that never saw the message answers with PUBCOMP too
        [MQTT-4.3.3-2].

        With QoS 1 the exchange is over: the peer holds nothing under the identifier [MQTT-4.3.2-2]
        and owes no PUBACK on another connection (section 4.4). It is given out after all others,
        since some peers send one all the same.
        """
        if _is_qos2(self.outgoing[packet_id]):
            self.outgoing[packet_id] = PubRel(packet_id)  # in its place: the key is there
        else:
            del self.outgoing[packet_id]
            self.abandoned.remove(packet_id)
            self.unanswered[packet_id] = None

    def restart(self) -> list[int]:
        """Have every exchange begin again: the peer has lost the session.

        What the peer had accepted goes first: PUBRECs come in the order of the messages
        [MQTT-4.6.0-3], so that these are older than what still waits for one [MQTT-4.6.0-1]. Return
        their identifiers. Those of messages that were given up are free now.
        """
        for packet_id in list(self.abandoned):
            self._close(packet_id, self.outgoing[packet_id])
        self.unanswered.clear()
        lost = [one for one in self.outgoing if one in self.accepted]
        if lost:
            waiting, self.outgoing = self.outgoing, {}
            for packet_id in lost:
                self.put(packet_id, self.accepted.pop(packet_id))
            for packet_id, packet in waiting.items():
                if packet_id not in self.outgoing:
                    self.put(packet_id, packet)
        return lost

    def puback(self, packet_id: int) -> int:
        """Close an exchange that PUBACK ends; return the QoS of its message.

        Raises:
            UnexpectedPacket: no PUBLISH of QoS 1 or 2 waits; nothing has changed.
        """
        waiting = self.outgoing.get(packet_id)
        if type(waiting) is not Publish:
            raise self._unexpected("PUBACK", packet_id)
        if self.abandoned or self.changes is not None:
            self._close(packet_id, waiting)
        else:  # hot
            del self.outgoing[packet_id]
        return waiting.qos

    def pubrec(self, packet_id: int) -> PubRel:
        """Take the second step of a QoS 2 exchange and return the third.

        PUBRELs are kept in the order of the PUBRECs [MQTT-4.6.0-4], and from here on the PUBLISH
        is not sent again [MQTT-4.3.3-1].

        Raises:
            UnexpectedPacket: no exchange of QoS 2 waits; nothing has changed.
        """
        waiting = self.outgoing.get(packet_id)
        if isinstance(waiting, PubRel):  # a repeated PUBREC only gets its PUBREL again
            return waiting
        if waiting is None or waiting.qos != 2:
            raise self._unexpected("PUBREC", packet_id)
        del self.outgoing[packet_id]
        release = PubRel(packet_id)
        if packet_id in self.abandoned:
            self.outgoing[packet_id] = release
        else:
            self.accepted[packet_id] = waiting
            self.put(packet_id, release)
        return release

    def pubcomp(self, packet_id: int) -> bool:
        """Close a QoS 2 exchange; return whether it was open.

        It may be closed already: a repeated PUBREC brings a second PUBREL and PUBCOMP.

        Raises:
            UnexpectedPacket: a PUBLISH waits, and not a PUBREL; nothing has changed.
        """
        waiting = self.outgoing.get(packet_id)
        if isinstance(waiting, Publish):
            raise self._unexpected("PUBCOMP", packet_id)
        if waiting is None:
            self.unanswered.pop(packet_id, None)
            return False
        self._close(packet_id, waiting)
        return True

    def _close(self, packet_id: int, waiting: Publish | PubRel) -> None:
        del self.outgoing[packet_id]
        self.accepted.pop(packet_id, None)
        if packet_id in self.abandoned:
            self.abandoned.remove(packet_id)
            if not _is_qos2(waiting):
                return  # its end was recorded when it was given up
        self._record("delete", packet_id)

    def _unexpected(self, packet_name: str, packet_id: int) -> UnexpectedPacket:
        if packet_name == "PUBACK":
            self.unanswered.pop(packet_id, None)  # the answer that an earlier connection missed
        return UnexpectedPacket(
            f"{packet_name} for packet identifier {packet_id}, which does not wait for one",
            rule="MQTT-2.3.1-6",
        )

    def _record(
        self,
        kind: Literal["put", "delete", "received", "released", "forget", "clear"],
        packet_id: int = 0,
        packet: Publish | PubRel | None = None,
        digest: int | None = None,
    ) -> None:
        if self.changes is not None:
            self.changes.append(Change(kind, packet_id, packet, digest))


def digest_of(message: Publish) -> int:
    """Return 32 bits that tell a repeated message from another one with its identifier.

    DUP does not: not every server sets it when it sends again.
    """
    return crc32(message.payload, crc32(message.topic.encode()))


def _is_qos2(waiting: Publish | PubRel) -> bool:
    return isinstance(waiting, PubRel) or waiting.qos == 2
