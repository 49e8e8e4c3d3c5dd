"""The search for the group whose key has signed a device's token, among many groups.

A hint: the group that it finds is judged like any other (``authentication``). Two hashes with keys
for each group's key are all that it can do without; they are made from what is known of the group's
key beforehand, since a fresh ``hmac`` of a few bytes costs more than its hashes.
"""

import hashlib
import hmac
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .sas import Token

_BLOCK = 64  # bytes of SHA-256's blocks; a key has at most as many
_INNER = bytes(byte ^ 0x36 for byte in range(256))  # RFC 2104, section 2
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_INNER_END, _OUTER_END = b"\x36" * 32, b"\x5c" * 32  # a derived key has 32 bytes


class _Master(NamedTuple):
    """A group's key, as far as it can be hashed without knowing a device.

    Attributes:
        place: of the group.
        inner: the hash that the message goes into.
        outer: the hash that the inner one's digest goes into.
    """

    place: int
    inner: Any
    outer: Any


class GroupKeys:
    """The keys of all groups, made ready for searching.

    Args:
        keys: of each group, the primary one first, 16 to 64 bytes.
    """

    def __init__(self, keys: Iterable[Sequence[bytes]]) -> None:
        several = list(keys)
        # Most devices sign with the primary key: those of all groups are tried first.
        self._masters = [
            _master(place, known[turn])
            for turn in (0, 1)
            for place, known in enumerate(several)
            if len(known) > turn
        ]

    def __repr__(self) -> str:
        return f"GroupKeys({len(self._masters)})"

    def signers(self, token: Token, spellings: Iterable[str]) -> Iterator[int]:
        """Yield the place of each group by whose key a token is signed.

        Args:
            token: of a device.
            spellings: of its registration id, from which its key may be derived.
        """
        names = [spelling.encode() for spelling in spellings]
        signed = _INNER_END + token.signed
        try:
            wanted = b64decode(token.signature)
        except ValueError:
            return
        sha256, is_same = hashlib.sha256, hmac.compare_digest
        for place, inner, outer in self._masters:
            for name in names:
                first, second = inner.copy(), outer.copy()
                first.update(name)
                second.update(first.digest())
                key = second.digest()
                digest = sha256(key.translate(_INNER) + signed).digest()
                if is_same(sha256(key.translate(_OUTER) + _OUTER_END + digest).digest(), wanted):
                    yield place


def _master(place: int, key: bytes) -> _Master:
    padded = key.ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(padded.translate(_INNER))
    return _Master(place, inner, hashlib.sha256(padded.translate(_OUTER)))
