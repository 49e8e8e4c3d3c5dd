"""A stream without a network: what is written is kept, and a test says what comes."""

import asyncio

from mqttws.errors import MqttwsError
from mqttws.net.stream import CLOSE_TIMEOUT, Receiver
from mqttws.wire import Decoder, Packet, encode


class MemoryStream:
    """A ``Stream``.

    Attributes:
        ended: how it was ended, in order: ``finish``, ``close``, ``abort``.
        slow: whether ``close`` waits for a peer that never closes.
    """

    address = "192.0.2.1"
    peer = "192.0.2.1:443"
    acknowledged = 0
    unacknowledged = 0
    cause = None  # as a WebSocket is between its Close frame and TCP's end

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.slow = False
        self.receiver: Receiver | None = None
        self._decoder = Decoder()

    def said(self) -> list[Packet]:
        """Return the packets that were written since the last call."""
        return list(iter(self._decoder.next_packet, None))

    def say(self, *packets: Packet) -> None:
        """Let the peer say something."""
        assert self.receiver is not None
        self.receiver.data_received(b"".join(map(encode, packets)))

    # Stream

    def attach(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def write(self, data: bytes) -> None:
        self._decoder.feed(data)

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    async def close(self, error: MqttwsError | None = None, timeout: float = CLOSE_TIMEOUT) -> None:
        self.ended.append("close")
        if self.slow:
            await asyncio.Event().wait()

    async def finish(self, timeout: float = CLOSE_TIMEOUT) -> None:
        self.ended.append("finish")

    def abort(self) -> None:
        self.ended.append("abort")
