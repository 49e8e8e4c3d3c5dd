"""Plain frames of a server, taken out of its bytes without the library.

Many brokers put each message in a frame of its own, and the library takes 2.4 µs for each frame:
more than everything else that a received message costs. This knows nothing but where frames end.
Whatever is not a whole, final, unmasked binary frame of at most 65 535 bytes goes to the library as
it came, and with it every rule of RFC 6455.
"""

from collections.abc import Callable

PLAIN = 0x82
"""The first byte of a final binary frame without extensions (RFC 6455 section 5.2)."""


class FrameSplitter:
    """Splits a server's bytes, from the first frame on, into plain payloads and the rest.

    Args:
        limit: bytes of the largest payload that is taken; a larger one is the library's to refuse.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = b""  # the beginning of a frame's header
        self._due = 0  # bytes that are missing of the frame that the library has begun
        self._fragmented = False  # a message has begun in frames of the library

    def split(
        self, data: bytes, take: Callable[[bytes], None], pass_on: Callable[[bytes], None]
    ) -> None:
        """Take bytes, cut anywhere.

        Args:
            data: the server's next bytes.
            take: called with the payload of each plain frame.
            pass_on: called, in their order with those, with bytes that are for the library.
        """
        if self._tail:
            data, self._tail = self._tail + data, b""
        at, end = 0, len(data)
        while at < end:
            if not self._due:
                if not self._fragmented:
                    at = _take_plain(data, at, take, self._limit)
                size = _frame_size(data, at)
                if size is None:
                    self._tail = data[at:]
                    return
                self._due = size
                if data[at] & 0x0F < 8:  # control frames may come between fragments
                    self._fragmented = data[at] < 0x80
            after = min(end, at + self._due)
            pass_on(data[at:after])
            self._due -= after - at
            at = after


def _take_plain(data: bytes, at: int, take: Callable[[bytes], None], limit: int) -> int:
    """Take whole plain frames from a place on; return the place behind them."""
    end = len(data)
    while at + 4 <= end and data[at] == PLAIN:
        size, start = data[at + 1], at + 2
        if size == 126:
            size, start = data[at + 2] << 8 | data[at + 3], at + 4
        elif size > 126:  # longer, or masked
            break
        after = start + size
        if after > end or size > limit:
            break
        take(data[start:after])
        at = after
    return at


def _frame_size(data: bytes, at: int) -> int | None:
    """Return the bytes of the frame at a place, its header included; None if that is not whole."""
    if at + 2 > len(data):
        return None
    size = data[at + 1] & 0x7F
    header = {126: 4, 127: 10}.get(size, 2)
    if at + header > len(data):
        return None
    if header > 2:
        size = int.from_bytes(data[at + 2 : at + header], "big")
    return header + (4 if data[at + 1] & 0x80 else 0) + size
