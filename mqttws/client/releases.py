"""QoS 2 exchanges whose message was given up, and whose PUBREL still waits for PUBCOMP.

Knows which of them there are, so that one for which the server leaves is known.
Does not know what is sent.
"""

from .receipt import Delivery


class Releases:
    """The exchanges by packet identifier; none takes a place in the client's window.

    PUBREL goes out before any new message, so that the server's window has the place again.
    """

    def __init__(self) -> None:
        self._by_id: dict[int, Delivery] = {}

    def __contains__(self, packet_id: int) -> bool:
        return packet_id in self._by_id

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def add(self, packet_id: int, topic: str) -> None:
        """Take one in; ``topic`` is for the log, "" if it is not known."""
        release = Delivery(topic, b"", 2, False)
        release.packet_id = packet_id
        release._complete()
        self._by_id[packet_id] = release

    def get(self, packet_id: int) -> Delivery | None:
        """Return the one with an identifier: done, and its ``packet_id`` is 0 after its end."""
        return self._by_id.get(packet_id)

    def end(self, packet_id: int) -> Delivery | None:
        """Take one out; return it, if there was one."""
        release = self._by_id.pop(packet_id, None)
        if release is not None:
            release.packet_id = 0
        return release

    def clear(self) -> None:
        """Take all out: the server has lost the session, and holds no identifier any more."""
        for packet_id in list(self._by_id):
            self.end(packet_id)
