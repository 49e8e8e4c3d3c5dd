"""The MQTT 3.1.1 packet codec: bytes to packets and back, with every check on.

Usable alone: it knows no socket, no thread, no event loop and no clock, and imports nothing but
the standard library's dataclasses and mqttws's exceptions.

>>> from mqttws.wire import Publish, decode, encode
>>> encode(Publish("t", b"x"))
b'0\\x04\\x00\\x01tx'
>>> decode(_)
Publish(topic='t', payload=b'x', qos=0, retain=False, dup=False, packet_id=None)
"""

from ..errors import MalformedPacket, PacketTooLarge, ProtocolError, UsageError
from .connecting import ConnAck, Connect, Disconnect, PingReq, PingResp, Will
from .fields import COMPILED, MAX_REMAINING_LENGTH
from .framing import DEFAULT_MAX_PACKET_SIZE, Decoder, decode, encode
from .packets import Packet
from .publishing import PubAck, PubComp, Publish, PubRec, PubRel
from .subscribing import REFUSED, SubAck, Subscribe, Subscription, UnsubAck, Unsubscribe
from .topics import matches, topic_filter_fault, topic_name_fault

if COMPILED:
    from .calls import install_all

    install_all()
else:
    from .sealed import refuse_subclasses

    refuse_subclasses(Decoder)

__all__ = [
    "encode",
    "decode",
    "Decoder",
    "DEFAULT_MAX_PACKET_SIZE",
    "MAX_REMAINING_LENGTH",
    "COMPILED",
    "Packet",
    "Connect",
    "Will",
    "ConnAck",
    "Publish",
    "PubAck",
    "PubRec",
    "PubRel",
    "PubComp",
    "Subscribe",
    "Subscription",
    "SubAck",
    "REFUSED",
    "Unsubscribe",
    "UnsubAck",
    "PingReq",
    "PingResp",
    "Disconnect",
    "matches",
    "topic_name_fault",
    "topic_filter_fault",
    "ProtocolError",
    "MalformedPacket",
    "PacketTooLarge",
    "UsageError",
]
