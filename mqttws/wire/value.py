"""The common part of all packets: they are values, and a body follows first byte and length.

Does not know any packet.
"""

from dataclasses import fields

from ._given import compiled_class
from .fields import encode_remaining_length


def frame(first_byte: int, body: bytes) -> bytes:
    """Return a packet: its first byte, its remaining length and its body (section 2.2)."""
    return bytes((first_byte,)) + encode_remaining_length(len(body)) + body


@compiled_class(acyclic=True)
class Value:
    """The part that makes a packet a value: copied and pickled by its fields, compiled or not."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), tuple(getattr(self, each.name) for each in fields(self))  # type: ignore[arg-type]  # every subclass is a dataclass
