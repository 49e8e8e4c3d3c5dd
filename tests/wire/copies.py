"""The memory that a decoder takes."""

import gc
import tracemalloc
from collections.abc import Sequence

from mqttws.wire import Decoder, Packet

FRAMES = 6
"""Calls to be kept of each allocation: those from a test down to the decoder are fewer."""


def held_for(file: str) -> int:
    """Return how many traced bytes are allocated now, by a test's file and what it calls.

    What is measured is not that of others: a worker of pytest-xdist has a thread that takes orders
    at any moment, and measuring takes memory itself.
    """
    gc.collect()
    whose = [
        tracemalloc.Filter(True, file, all_frames=True),
        tracemalloc.Filter(False, __file__, all_frames=True),
    ]
    return sum(each.size for each in tracemalloc.take_snapshot().filter_traces(whose).traces)


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
