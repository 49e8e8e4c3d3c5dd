"""The pieces of an unfinished packet, kept as they were fed until all of them have come.

Knows sizes and no packet. A small piece is put together with its neighbours, so that a byte of the
stream costs a byte; a large one is kept as it is, and copied once, when all are joined.
"""

from typing import Final

_SMALL: Final = 4096
"""Bytes below which a piece is put together with its neighbours."""

_TOGETHER: Final = 65536
"""Bytes that are put together at most, before the next buffer is begun."""


class Pieces:
    """Bytes in the order in which they came.

    Attributes:
        size: how many bytes there are.
    """

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray] = []
        self.size: int = 0

    def add(self, data: bytes) -> None:
        """Append a piece."""
        self.size += len(data)
        pieces = self._pieces
        if len(data) >= _SMALL:
            pieces.append(data)
            return
        last = pieces[-1] if pieces else b""
        if isinstance(last, bytearray) and len(last) < _TOGETHER:
            last += data
        else:
            pieces.append(bytearray(data))

    def put_first(self, data: bytes) -> None:
        """Put bytes before all others."""
        if data:
            self._pieces.insert(0, data)
            self.size += len(data)

    def drop(self, count: int) -> int:
        """Drop at most so many of the first bytes; return how many were dropped."""
        pieces = self._pieces
        left = min(count, self.size)
        dropped = left
        while left:
            size = len(pieces[0])
            if size <= left:
                pieces.pop(0)
                left -= size
            else:
                pieces[0] = pieces[0][left:]
                left = 0
        self.size -= dropped
        return dropped

    def first(self) -> bytes:
        """Return the first piece."""
        return bytes(self._pieces[0])

    def take_all(self) -> bytes:
        """Return all bytes, and be empty."""
        joined = b"".join(self._pieces)
        self.clear()
        return joined

    def take_between(self, start: int, end: int) -> tuple[bytes, bytes] | None:
        """Return the bytes from ``start`` to ``end`` and those behind them, and be empty.

        Each is copied once. None, and nothing is taken, unless ``start`` is in the first piece
        and ``end`` in the last of several.
        """
        pieces = self._pieces
        last = pieces[-1]
        surplus = self.size - end
        if len(pieces) < 2 or start > len(pieces[0]) or surplus >= len(last):
            return None
        pieces[0] = pieces[0][start:]
        if surplus:
            pieces[-1] = last[:-surplus]
        joined = b"".join(pieces)
        self.clear()
        return joined, bytes(last[len(last) - surplus :])

    def clear(self) -> None:
        """Let go of all bytes."""
        self._pieces = []
        self.size = 0
