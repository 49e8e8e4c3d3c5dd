"""Calls of compiled packet classes without a tuple and a dict for each call.

Loaded by the compiled codec alone. A class that mypyc has compiled is called through ``tp_new`` and
``tp_init``: ``Publish(topic="t", qos=1)`` makes a tuple and a dict first, which takes longer than
the rest. ``install`` gives each class a ``tp_vectorcall`` (PEP 590). The hot classes are made by
the compiled functions below, which bear their names since an error about arguments shows it;
all others by their generated ``__init__``.
"""

from typing import Any

from . import connecting, publishing, subscribing


def Publish(  # noqa: PLR0917  # the fields, in their order
    topic: Any,
    payload: Any = b"",
    qos: Any = 0,
    retain: Any = False,
    dup: Any = False,
    packet_id: Any = None,
) -> publishing.Publish:
    """Make a packet."""
    return publishing.Publish(topic, payload, qos, retain, dup, packet_id)


def PubAck(packet_id: Any) -> publishing.PubAck:
    """Make a packet."""
    return publishing.PubAck(packet_id)


def PubRec(packet_id: Any) -> publishing.PubRec:
    """Make a packet."""
    return publishing.PubRec(packet_id)


def PubRel(packet_id: Any) -> publishing.PubRel:
    """Make a packet."""
    return publishing.PubRel(packet_id)


def PubComp(packet_id: Any) -> publishing.PubComp:
    """Make a packet."""
    return publishing.PubComp(packet_id)


def UnsubAck(packet_id: Any) -> subscribing.UnsubAck:
    """Make a packet."""
    return subscribing.UnsubAck(packet_id)


def install_all() -> None:
    """Give every packet class its ``tp_vectorcall``, and everything compiled its docstring."""
    from ._docstrings import document  # both are there where the codec is compiled
    from ._vectorcall import install

    install(publishing.Publish, Publish)
    install(publishing.PubAck, PubAck)
    install(publishing.PubRec, PubRec)
    install(publishing.PubRel, PubRel)
    install(publishing.PubComp, PubComp)
    install(subscribing.UnsubAck, UnsubAck)
    for each in (
        connecting.Will,
        connecting.Connect,
        connecting.ConnAck,
        subscribing.Subscription,
        subscribing.Subscribe,
        subscribing.SubAck,
        subscribing.Unsubscribe,
    ):
        install(each, None)
    document()
