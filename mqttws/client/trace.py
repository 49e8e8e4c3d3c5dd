"""A trace of a connection, packet by packet, for people who look for a fault.

``>`` is sent, ``<`` is received. A packet is shown without what may be secret: a CONNECT never
shows its password, a PUBLISH shows its payload's size and no byte of it.
"""

import logging
from collections.abc import Callable

from ..errors import MqttwsError
from ..wire import Connect, Decoder, Packet, Publish

logger: logging.Logger = logging.getLogger("mqttws.packets")
"""Every connection's packets, at level DEBUG, without secrets."""

OnPacket = Callable[[str, Packet], None]
"""Called with each packet: ``>`` or ``<``, and the packet itself, its secrets included."""


def describe(packet: Packet) -> str:
    """Return a packet in one line that is safe to show."""
    if isinstance(packet, Publish):
        flags = "".join(
            f" {name}" for name, on in (("dup", packet.dup), ("retain", packet.retain)) if on
        )
        packet_id = "" if packet.packet_id is None else f" packet_id={packet.packet_id}"
        return (
            f"Publish qos={packet.qos}{packet_id}{flags} {packet.topic!r}"
            f" ({len(packet.payload)} bytes)"
        )
    if isinstance(packet, Connect) and packet.will is not None:
        return (
            f"Connect(client_id={packet.client_id!r}, username={packet.username!r}, with a will to"
            f" {packet.will.topic!r} of {len(packet.will.payload)} bytes)"
        )
    return repr(packet)


class Tracer:
    """Reads along with a connection and reports its packets.

    Args:
        max_packet_size: the largest packet in bytes that is followed.
        on_packet: called with each packet.
    """

    def __init__(self, max_packet_size: int, on_packet: OnPacket | None) -> None:
        self._decoders = {">": Decoder(268_435_460), "<": Decoder(max_packet_size)}
        self._on_packet = on_packet

    def read(self, direction: str, data: bytes) -> None:
        """Take bytes that were sent (``>``) or received (``<``)."""
        decoder = self._decoders[direction]
        try:
            decoder.feed(data)
            while (packet := decoder.next_packet()) is not None:
                logger.debug("%s %s", direction, describe(packet))
                if self._on_packet is not None:
                    self._tell(self._on_packet, direction, packet)
        except MqttwsError as error:  # the connection itself reports it
            logger.debug("%s %s", direction, error)

    def _tell(self, on_packet: OnPacket, direction: str, packet: Packet) -> None:
        try:
            on_packet(direction, packet)
        except Exception:  # who only watches must not end the connection
            logger.exception("on_packet failed")


def tracer_for(max_packet_size: int, on_packet: OnPacket | None) -> Tracer | None:
    """Return a tracer if its reports would be read."""
    if on_packet is None and not logger.isEnabledFor(logging.DEBUG):
        return None
    return Tracer(max_packet_size, on_packet)
