"""MQTT packets in a byte stream that passes by, within WebSocket frames or without.

It has its own few lines of parsing and not the codec's: an instrument must not share the faults of
what it measures. It never fails: a stream that it cannot read is one in which it sees nothing.
"""

from typing import NamedTuple

KINDS = (
    "", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
    "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "",
)  # fmt: skip


class Seen(NamedTuple):
    """One packet.

    Attributes:
        kind: its name, in capitals.
        flags: the lower half of its first byte.
        body: the bytes behind its fixed header.
        end: how many bytes of the stream had passed when it was whole; in a WebSocket, when its
            last frame was whole.
    """

    kind: str
    flags: int
    body: bytes
    end: int

    @property
    def qos(self) -> int:
        """Of a PUBLISH."""
        return self.flags >> 1 & 3

    @property
    def topic(self) -> str:
        """Of a PUBLISH."""
        return self.body[2 : 2 + int.from_bytes(self.body[:2])].decode("utf-8", "replace")

    @property
    def packet_id(self) -> int:
        """Of everything that has one; 0 for none."""
        if self.kind == "PUBLISH":
            at = 2 + int.from_bytes(self.body[:2])
            return int.from_bytes(self.body[at : at + 2]) if self.qos else 0
        return 0 if self.kind in ("CONNECT", "CONNACK") else int.from_bytes(self.body[:2])

    @property
    def payload(self) -> bytes:
        """Of a PUBLISH."""
        return self.body[2 + int.from_bytes(self.body[:2]) + (2 if self.qos else 0) :]

    @property
    def client_id(self) -> str:
        """Of a CONNECT of MQTT 3.1.1."""
        return self.body[12 : 12 + int.from_bytes(self.body[10:12])].decode("utf-8", "replace")

    @property
    def session_present(self) -> bool:
        """Of a CONNACK."""
        return bool(self.body[0] & 1)


class Tap:
    """Reads one direction of a connection; whether that is a WebSocket shows in its first bytes."""

    def __init__(self) -> None:
        self._raw = bytearray()  # of a frame or a packet that is not whole yet
        self._taken = 0  # bytes of the stream before those
        self._mqtt = bytearray()  # in a WebSocket: what frames have brought of an unfinished packet
        self._opening: bool | None = None  # in HTTP; None until the first byte
        self._framed = False

    def feed(self, data: bytes) -> list[Seen]:
        """Return the packets that are whole now."""
        self._raw += data
        if self._opening is None:
            self._opening = self._framed = self._raw[:1] in (b"G", b"H")  # GET, HTTP/1.1
        if self._opening:
            end = self._raw.find(b"\r\n\r\n")
            if end < 0:
                return []
            self._take(end + 4)
            self._opening = False
        if self._framed:
            return self._frames()
        found, used = packets(self._raw, self._taken)
        self._take(used)
        return found

    def _take(self, size: int) -> bytes:
        taken = bytes(self._raw[:size])
        del self._raw[:size]
        self._taken += size
        return taken

    def _frames(self) -> list[Seen]:
        found: list[Seen] = []
        while (sizes := frame_sizes(self._raw)) and len(self._raw) >= sum(sizes):
            head, size = self._take(sizes[0]), sizes[1]
            body = self._take(size)
            if head[0] & 0x0F > 2:  # a control frame
                continue
            self._mqtt += unmasked(body, head[-4:]) if head[1] & 0x80 else body
            whole, used = packets(self._mqtt, 0)
            del self._mqtt[:used]
            found += [one._replace(end=self._taken) for one in whole]
        return found


def packets(data: bytearray, before: int) -> tuple[list[Seen], int]:
    """Return the whole packets at the beginning of ``data``, and how many bytes they take."""
    found, at = [], 0
    while True:
        size, shift, start = 0, 0, at + 1
        while start < len(data):
            byte = data[start]
            size |= (byte & 0x7F) << shift
            shift += 7
            start += 1
            if byte < 0x80:
                break
        else:
            return found, at
        if len(data) < start + size:
            return found, at
        kind, flags = KINDS[data[at] >> 4], data[at] & 0x0F
        body = bytes(data[start : start + size])
        at = start + size
        found.append(Seen(kind, flags, body, before + at))


def frame_sizes(data: bytearray) -> tuple[int, int] | None:
    """Return the lengths of a frame's head and of its payload (RFC 6455 section 5.2)."""
    if len(data) < 2:
        return None
    size, head = data[1] & 0x7F, 2
    if size >= 126:
        head = 4 if size == 126 else 10
        if len(data) < head:
            return None
        size = int.from_bytes(data[2:head])
    return head + (4 if data[1] & 0x80 else 0), size


def unmasked(payload: bytes, mask: bytes) -> bytes:
    """Take a client's mask off (RFC 6455 section 5.3)."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)
