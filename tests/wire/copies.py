"""The memory that a decoder takes for the last piece of a packet."""

import tracemalloc
from collections.abc import Sequence

from mqttws.wire import Decoder, Packet


def last_of(pieces: Sequence[bytes], limit: int) -> tuple[Packet | None, int]:
    """Return the packet that the last piece completes, and the most bytes taken to read it."""
    decoder = Decoder(limit)
    for piece in pieces[:-1]:
        decoder.feed(piece)
        assert decoder.next_packet() is None
    decoder.feed(pieces[-1])
    tracemalloc.start()
    try:
        packet = decoder.next_packet()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return packet, peak
