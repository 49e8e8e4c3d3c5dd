"""Refusals of a compiled codec, for the pure one too. Loaded by the pure codec alone.

A class that mypyc has compiled cannot be subclassed, and its fields cannot be deleted. A program
that did either would work until it meets a C compiler.

A class with a ``__delattr__`` of its own sets each attribute the long way: Python has one slot for
both. The packets that are most of all traffic are therefore made by the functions below, which take
the short one: a PUBLISH as an object of a class with the same slots and no such method, which then
becomes a ``Publish``; 165 ns instead of 560.
"""

from ._given import Given
from .publishing import Acknowledgement, PubAck, Publish
from .value import Value

_new = object.__new__
_set_class = object.__dict__["__class__"].__set__
_set_packet_id = Acknowledgement.__dict__["packet_id"].__set__


class _Unsealed(Publish):
    __slots__ = ()
    __delattr__ = object.__delattr__


class _UnsealedPubAck(PubAck):
    __slots__ = ()
    __delattr__ = object.__delattr__


def new_publish(  # noqa: PLR0917  # the fields, in their order
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    dup: bool,
    packet_id: int | None,
) -> Publish:
    """Return a packet; a call of the class takes 90 ns more."""
    packet = _new(_Unsealed)
    packet.topic = topic
    packet.payload = payload
    packet.qos = qos
    packet.retain = retain
    packet.dup = dup
    packet.packet_id = packet_id
    packet.__class__ = Publish  # type: ignore[assignment]  # from here on it is one
    return packet


def new_puback(packet_id: int) -> PubAck:
    """Return a packet."""
    packet = _new(_UnsealedPubAck)
    packet.packet_id = packet_id
    packet.__class__ = PubAck  # type: ignore[assignment]
    return packet


def _init_publish(  # noqa: PLR0917
    self: Publish,
    topic: Given[str],
    payload: Given[bytes] = b"",
    qos: Given[int] = 0,
    retain: Given[bool] = False,
    dup: Given[bool] = False,
    packet_id: Given[int | None] = None,
) -> None:
    _set_class(self, _Unsealed)
    self.topic = topic
    self.payload = payload
    self.qos = qos
    self.retain = retain
    self.dup = dup
    self.packet_id = packet_id
    self.__class__ = Publish


def _init_acknowledgement(self: Acknowledgement, packet_id: Given[int]) -> None:
    _set_packet_id(self, packet_id)


def refuse_subclasses(one: type) -> None:
    """Let a class have no further subclass."""
    setattr(one, "__init_subclass__", classmethod(_refuse))  # noqa: B010 - mypy sees methods


def _refuse(cls: type, /, **_options: object) -> None:
    raise TypeError(f"{cls.__mro__[1].__name__} cannot be subclassed: it may be compiled")


def _keep(self: object, name: str) -> None:
    raise AttributeError(f"{type(self).__name__!r} object attribute {name!r} cannot be deleted")


def _replace_init(owner: type, function: object) -> None:
    for name in ("__name__", "__qualname__", "__doc__"):
        setattr(function, name, getattr(owner.__init__, name))  # type: ignore[misc]
    setattr(owner, "__init__", function)  # noqa: B010


_replace_init(Publish, _init_publish)
_replace_init(Acknowledgement, _init_acknowledgement)
setattr(Value, "__delattr__", _keep)  # noqa: B010
refuse_subclasses(Value)
