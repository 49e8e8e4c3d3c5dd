"""The head of an HTTP/1.x response: status line, headers, and where its body ends.

Bytes in, values out. Shared by the dialogue with a proxy and by the WebSocket upgrade, which both
need the head before, or without, the body.
"""

import re
from dataclasses import dataclass

MAX_HEAD = 64 * 1024
"""Bytes of status line and headers that are read at most."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers of an HTTP answer; ``length`` is where its body begins."""

    version: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    length: int

    def values(self, name: str) -> list[str]:
        """Return the values of all headers of a name, which is in lower case."""
        return [value for key, value in self.headers if key == name]

    def tokens(self, *names: str) -> set[str]:
        """Return the comma-separated words of all headers of these names, in lower case."""
        return {
            word.strip().lower()
            for name in names
            for value in self.values(name)
            for word in value.split(",")
        }

    @property
    def persistent(self) -> bool:
        """Whether the peer leaves the connection open (RFC 9112 section 9.3), so it says."""
        words = self.tokens("connection", "proxy-connection")
        if "close" in words:
            return False
        return self.version == "1.1" or "keep-alive" in words

    @property
    def chunked(self) -> bool:
        """Whether the body says chunk by chunk where it ends."""
        return "chunked" in self.tokens("transfer-encoding")

    @property
    def content_length(self) -> int | None:
        """The body's size in bytes, as announced."""
        given = self.values("content-length")
        return int(given[0]) if given and re.fullmatch(r"[0-9]{1,15}", given[0]) else None

    @property
    def reusable(self) -> bool:
        """Whether another request can follow the body: it is known where that ends."""
        return self.persistent and (self.chunked or self.content_length is not None)


_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9]{2})(?: ([^\r\n]*))?")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


def parse_head(data: bytes | bytearray) -> Head | None:
    """Return the head that ``data`` begins with; None if it is not complete yet.

    Its status is 0 if the status line is not one of HTTP/1.x.
    """
    end = _HEAD_END.search(data)
    if end is None:
        return None
    first, *lines = bytes(data[: end.start()]).replace(b"\r\n", b"\n").split(b"\n")
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        return Head("", 0, "", [], end.end())
    version, status, reason = found.groups()
    headers = []
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name.strip().lower(), value.strip()))
    return Head(
        version.decode(), int(status), (reason or b"").decode("latin-1"), headers, end.end()
    )


def body_length(head: Head, data: bytearray) -> int | None:
    """Return the size of the answer's body once all of it is there; None until then."""
    length = _chunked_length(bytes(data[head.length :])) if head.chunked else head.content_length
    if length is None or len(data) < head.length + length:
        return None
    return length


_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]*\r\n")


def _chunked_length(data: bytes) -> int | None:
    """Return how long a chunked body is (RFC 9112 section 7.1); None if its end is not there."""
    position = 0
    while chunk := _CHUNK.match(data, position):
        size = int(chunk[1], 16)
        if size == 0:
            end = data.find(b"\r\n\r\n", chunk.end() - 2)  # trailers may stand between
            return end + 4 if end >= 0 else None
        position = chunk.end() + size + 2
    return None


def printable(text: str) -> str:
    """Return a peer's words so that they can be shown in one line of a terminal or a log."""
    return "".join(c if c.isprintable() else "?" for c in text[:500])
