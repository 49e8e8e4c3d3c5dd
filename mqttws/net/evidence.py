"""Evidence about a connection that fell silent: what the kernel knows of its packets (TCP_INFO)."""

import socket
import struct
from dataclasses import dataclass
from typing import Any

from ..hops import Cause, Party

_TCP_INFO = getattr(socket, "TCP_INFO", 11)
_UNACKED, _TOTAL_RETRANSMITS = 24, 100
_BYTES_RECEIVED, _DATA_SEGMENTS_IN = 128, 152
"""Offsets in struct tcp_info (linux/tcp.h)."""


@dataclass(frozen=True, slots=True)
class Packets:
    """Counters of one TCP connection.

    Attributes:
        unacknowledged: packets of ours that the other end has not acknowledged.
        sent_again: packets of ours that were sent again.
        received: bytes that came in order.
        segments: packets with data that came, in order or not.
    """

    unacknowledged: int
    sent_again: int
    received: int
    segments: int

    @property
    def sentence(self) -> str:
        """The counters in words."""
        if self.unacknowledged:
            again = f", sent {self.sent_again + 1} times" if self.sent_again else ""
            return f"the first message is not acknowledged{again}"
        if self.received:
            return f"the first message arrived, and {self.received} bytes came back"
        if self.segments:
            return f"{self.segments} packets came, and those before them are missing"
        return "the first message arrived, and nothing came back"


def packets_of(transport_socket: Any) -> Packets | None:
    """Return the counters of a connected TCP socket; None where the system has none (Linux has)."""
    try:
        raw = transport_socket.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 256)
    except (OSError, AttributeError):
        return None
    if len(raw) < _DATA_SEGMENTS_IN + 4:
        return None

    def at(offset: int, kind: str = "I") -> int:
        return int(struct.unpack_from(f"={kind}", raw, offset)[0])

    return Packets(
        at(_UNACKED), at(_TOTAL_RETRANSMITS), at(_BYTES_RECEIVED, "Q"), at(_DATA_SEGMENTS_IN)
    )


def judge_silence(packets: Packets | None) -> tuple[Cause, Party, str] | None:
    """Return cause, party and hint for a TLS handshake that is not answered; None: not known."""
    if packets is None or packets.received:
        return None
    if packets.unacknowledged:
        return (
            Cause.SILENT,
            Party.NETWORK,
            "TCP connects, and the first TLS message never arrives at the other end: a firewall on"
            " the way swallows it (by the server's name in it, or because it does not know TLS"
            " 1.3), or larger packets vanish: ask the network team to let TLS to this host pass",
        )
    if packets.segments:
        return (
            Cause.BLACK_HOLE,
            Party.NETWORK,
            "larger packets of the answer vanish on the way (the MTU is smaller than the network"
            " says: VPN, PPPoE, LTE): lower this machine's (ip link set dev eth0 mtu 1280), and ask"
            ' the network team to let ICMP "fragmentation needed" pass',
        )
    return None
