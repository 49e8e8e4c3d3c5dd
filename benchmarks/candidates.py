"""The codecs that are compared, each used in the best way that it offers.

A candidate turns packets to bytes (``encode_*``) or pieces of a stream to packets (``decode``),
and tells what it decoded as ``facts``, so that a question can check it before timing it. A
candidate whose package is not installed, or that has no way to do a thing alone, is left out by
name. The loops are written out for each, so that none pays for a helper that another is spared.
"""

import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from benchmarks.traffic import PACKET_ID, PAYLOAD, TOPIC

Facts = tuple[Any, ...]
"""(topic, payload, qos, packet id) of a PUBLISH, (packet id,) of a PUBACK."""

Pieces = list[bytes]


@dataclass
class Candidate:
    """One codec.

    Attributes:
        name: of the package.
        kind: "pure", "compiled" (from Python), "Rust" or "floor".
        remark: what to know before comparing: MQTT 5, checks that it skips.
        decode: feeds each piece as it would arrive, takes every packet, and returns how many there
            were and the last one.
        facts: of what ``decode`` returned.
        encode_publish: QoS 1 PUBLISH from topic, payload and packet id, built and encoded.
        encode_puback: PUBACK from a packet id, built and encoded.
        v5: whether its packets are those of MQTT 5.
    """

    name: str
    kind: str
    remark: str = ""
    decode: Callable[[Pieces], tuple[int, Any]] | None = None
    facts: Callable[[Any], Facts] | None = None
    encode_publish: Callable[[], Any] | None = None
    encode_puback: Callable[[], Any] | None = None
    v5: bool = False

    @property
    def version(self) -> str:
        """The installed package's version; empty for the floor."""
        try:
            return version(self.name.split()[0])
        except PackageNotFoundError:
            return ""


def mqttws() -> Candidate:
    """This package, with all its checks."""
    from mqttws.wire import COMPILED, Decoder, PubAck, Publish, encode

    def decode(pieces: Pieces) -> tuple[int, Any]:
        decoder = Decoder(max_packet_size=2 * 1024 * 1024)
        feed = decoder.feed
        next_packet = decoder.next_packet
        count = 0
        last = None
        for piece in pieces:
            feed(piece)
            while (packet := next_packet()) is not None:
                last = packet
                count += 1
        return count, last

    def facts(packet: Any) -> Facts:
        if isinstance(packet, PubAck):
            return (packet.packet_id,)
        return packet.topic, packet.payload, packet.qos, packet.packet_id

    return Candidate(
        "mqttws",
        "compiled" if COMPILED else "pure",
        "every check of the standard",
        decode,
        facts,
        lambda: encode(Publish(TOPIC, PAYLOAD, 1, False, False, PACKET_ID)),
        lambda: encode(PubAck(PACKET_ID)),
    )


def mqttium() -> Candidate:
    """Its engine's own functions for 3.1.1, without the engine."""
    from mqttium.codec.buffer import IncrementalDecoder
    from mqttium.enums import PacketType, QoS
    from mqttium.packets._ack import decode_puback_v311, encode_puback_v311
    from mqttium.packets._publish import (
        decode_qos0_message_v311,
        decode_qos12_fields_v311,
        encode_publish_item_v311,
    )

    publish = PacketType.PUBLISH
    at_least_once = QoS.AT_LEAST_ONCE

    def decode(pieces: Pieces) -> tuple[int, Any]:
        decoder = IncrementalDecoder()
        feed = decoder.feed
        next_packet = decoder.next_packet
        count = 0
        last: Any = None
        for piece in pieces:
            feed(piece)
            while (raw := next_packet()) is not None:
                if raw.packet_type is publish:
                    if raw.flags & 6:
                        last = decode_qos12_fields_v311(raw)
                    else:
                        last = decode_qos0_message_v311(raw)
                else:
                    last = decode_puback_v311(raw.remaining)
                count += 1
        return count, last

    def facts(packet: Any) -> Facts:
        if isinstance(packet, tuple):
            if len(packet) == 3:
                return (packet[0],)
            return packet[0], packet[1], 1, packet[2]
        return packet.topic, packet.payload, 0, None

    return Candidate(
        "mqttium",
        "pure",
        "",
        decode,
        facts,
        lambda: encode_publish_item_v311(
            TOPIC, PAYLOAD, qos=at_least_once, retain=False, dup=False, mid=PACKET_ID
        ),
        lambda: encode_puback_v311(PACKET_ID),
    )


def gmqtt() -> Candidate:
    """Its framing and its handlers, with nothing behind them and a logger that does nothing."""
    from gmqtt.mqtt.constants import MQTTCommands, MQTTv311
    from gmqtt.mqtt.handler import MqttPackageHandler
    from gmqtt.mqtt.package import CommandWithMidPacket
    from gmqtt.mqtt.protocol import MQTTProtocol

    def nothing(*_args: Any, **_more: Any) -> None:
        return None

    class State:
        protocol_version = MQTTv311

    class Silent:
        debug = info = warning = critical = staticmethod(nothing)

    def decode(pieces: Pieces) -> tuple[int, Any]:
        taken: list[Any] = [None]

        def on_message(topic: Any, payload: Any, qos: Any, _properties: Any) -> None:
            taken[0] = topic, payload, qos

        handler: Any = MqttPackageHandler.__new__(MqttPackageHandler)
        handler._connection_state = State
        handler._logger = Silent
        handler._optimistic_acknowledgement = True
        handler.on_message = on_message
        handler._send_puback = nothing
        handler._handle_qos_1_publish_packet = lambda mid, packet, topic, _properties: (
            taken.__setitem__(0, (topic, packet, 1, mid))
        )
        publish = handler._handle_publish_packet
        count = 0

        class Connection:
            @staticmethod
            def put_package(package: Any) -> None:
                nonlocal count
                count += 1
                if package.cmd & 0xF0 == 0x30:
                    publish(package.cmd, package.data)
                else:
                    taken[0] = struct.unpack("!H", package.data[:2])

        protocol: Any = MQTTProtocol.__new__(MQTTProtocol)
        protocol._connection = Connection
        buffer = b""
        for piece in pieces:
            buffer += piece
            used = protocol._read_packet(buffer)
            buffer = buffer[used:]
        return count, taken[0]

    def facts(packet: Any) -> Facts:
        if len(packet) == 3:
            return packet[0], packet[1], packet[2], None
        return tuple(packet)

    puback = MQTTCommands.PUBACK
    return Candidate(
        "gmqtt",
        "pure",
        "checks nothing; encodes PUBLISH only with its client's state",
        decode,
        facts,
        None,
        lambda: CommandWithMidPacket.build_package(puback, PACKET_ID, False, proto_ver=MQTTv311),
    )


def zmqtt() -> Candidate:
    """Its PacketBuffer and encode."""
    from zmqtt._internal.packets.codec import encode
    from zmqtt._internal.packets.publish import PubAck, Publish
    from zmqtt._internal.packets.reader import PacketBuffer
    from zmqtt._internal.types.qos import QoS

    qos = QoS.AT_LEAST_ONCE

    def decode(pieces: Pieces) -> tuple[int, Any]:
        buffer = PacketBuffer()
        count = 0
        last: Any = None
        for piece in pieces:
            buffer.feed(piece)
            for packet in buffer:
                last = packet
                count += 1
        return count, last

    def facts(packet: Any) -> Facts:
        if isinstance(packet, PubAck):
            return (packet.packet_id,)
        return packet.topic, packet.payload, int(packet.qos), packet.packet_id

    return Candidate(
        "zmqtt",
        "pure",
        "skips most checks",
        decode,
        facts,
        lambda: encode(
            Publish(
                topic=TOPIC,
                payload=PAYLOAD,
                qos=qos,
                retain=False,
                dup=False,
                packet_id=PACKET_ID,
            ),
            version="3.1.1",
        ),
        lambda: encode(PubAck(packet_id=PACKET_ID), version="3.1.1"),
    )


def amqtt() -> Candidate:
    """Its packet classes; they read from a stream by coroutines, which are stepped by hand."""
    from amqtt.adapters import BufferReader
    from amqtt.mqtt.packet import MQTTFixedHeader
    from amqtt.mqtt.puback import PubackPacket
    from amqtt.mqtt.publish import PublishPacket

    async def read_all(pieces: Pieces) -> tuple[int, Any]:
        # It can only read what is all there, so it is given whole packets.
        reader = BufferReader(b"".join(pieces))
        count = 0
        last: Any = None
        while (header := await MQTTFixedHeader.from_stream(reader)) is not None:
            kind = PublishPacket if header.packet_type == 3 else PubackPacket
            last = await kind.from_stream(reader, fixed_header=header)
            count += 1
        return count, last

    def decode(pieces: Pieces) -> tuple[int, Any]:
        try:
            read_all(pieces).send(None)
        except StopIteration as result:
            return result.value  # type: ignore[no-any-return]  # what read_all returned
        raise AssertionError("it waited for bytes that were all there")

    def facts(packet: Any) -> Facts:
        if isinstance(packet, PubackPacket):
            return (packet.packet_id,)
        return packet.topic_name, packet.data, packet.qos, packet.packet_id

    return Candidate(
        "amqtt",
        "pure",
        "skips most checks",
        decode,
        facts,
        lambda: PublishPacket.build(TOPIC, PAYLOAD, PACKET_ID, False, 1, False).to_bytes(),
        lambda: PubackPacket.build(PACKET_ID).to_bytes(),
    )


def paho_mqtt() -> Candidate:
    """Its client's reading and writing, on pretend sockets."""
    from paho.mqtt.client import CallbackAPIVersion, Client

    class Socket:
        def __init__(self, data: bytes) -> None:
            self.data = data
            self.at = 0

        def recv(self, size: int) -> bytes:
            at = self.at
            if at == len(self.data):
                raise BlockingIOError
            self.at = at + size
            return self.data[at : at + size]

    def client_with(data: bytes) -> Any:
        client: Any = Client(CallbackAPIVersion.VERSION2)
        client._sock = Socket(data)
        return client

    def decode(pieces: Pieces) -> tuple[int, Any]:
        client = client_with(b"".join(pieces))
        taken: list[Any] = [None]
        count = 0

        def on_message(message: Any) -> None:
            taken[0] = message

        def on_puback(_client: Any, _data: Any, mid: int, *_more: Any) -> None:
            taken[0] = mid

        client._handle_on_message = on_message
        client._send_puback = lambda _mid: 0
        read = client._packet_read
        socket = client._sock
        size = len(socket.data)
        while socket.at < size:
            read()
            count += 1
        return count, taken[0]

    def facts(packet: Any) -> Facts:
        return packet.topic, packet.payload, packet.qos, packet.mid or None

    queued: list[bytes] = []
    sender = client_with(b"")
    sender._packet_queue = lambda _command, packet, *_more: queued.__setitem__(
        slice(None), [packet]
    )
    topic = TOPIC.encode()

    def encode_publish() -> Any:
        sender._send_publish(PACKET_ID, topic, PAYLOAD, 1)
        return queued[0]

    def encode_puback() -> Any:
        sender._send_puback(PACKET_ID)
        return queued[0]

    return Candidate(
        "paho-mqtt",
        "pure",
        "skips most checks; its PUBACK is read only with its client's state",
        decode,
        facts,
        encode_publish,
        encode_puback,
    )


def mqtt5() -> Candidate:
    """Its read function over a memoryview, and its packets' write."""
    from mqtt5 import PubAckPacket, PublishPacket, QoS, read

    qos = QoS.AT_LEAST_ONCE

    def decode(pieces: Pieces) -> tuple[int, Any]:
        count = 0
        last: Any = None
        rest = b""
        for piece in pieces:
            data = rest + piece if rest else piece
            view = memoryview(data)
            at = 0
            size = len(data)
            try:
                while at < size:
                    last, used = read(view[at:])
                    at += used
                    count += 1
            except IndexError:
                pass  # the rest is not a whole packet yet
            rest = data[at:]
        return count, last

    def facts(packet: Any) -> Facts:
        if isinstance(packet, PubAckPacket):
            return (packet.packet_id,)
        return packet.topic, packet.payload, int(packet.qos), packet.packet_id

    return Candidate(
        "mqtt5",
        "Rust",
        "MQTT 5: one byte of properties more",
        decode,
        facts,
        lambda: PublishPacket(TOPIC, payload=PAYLOAD, qos=qos, packet_id=PACKET_ID).write(),
        lambda: PubAckPacket(PACKET_ID).write(),
        v5=True,
    )


def fixed_struct() -> Candidate:
    """The floor: a struct of one fixed shape and no check at all; it decodes nothing else."""
    shape = struct.Struct(f">BBH{len(TOPIC)}sH{len(PAYLOAD)}s")
    length = shape.size - 2
    ack = struct.Struct(">BBH")
    topic = TOPIC.encode()

    def decode(pieces: Pieces) -> tuple[int, Any]:
        count = 0
        last: Any = None
        rest = b""
        for piece in pieces:
            data = rest + piece if rest else piece
            at = 0
            stop = len(data) - shape.size
            while at <= stop:
                _, _, _, raw, packet_id, payload = shape.unpack_from(data, at)
                last = raw.decode(), payload, 1, packet_id
                at += shape.size
                count += 1
            rest = data[at:]
        return count, last

    return Candidate(
        "fixed struct",
        "floor",
        "no checks, one fixed shape",
        decode,
        lambda packet: packet,  # type: ignore[no-any-return]  # it made the facts
        lambda: shape.pack(0x32, length, len(TOPIC), topic, PACKET_ID, PAYLOAD),
        lambda: ack.pack(0x40, 2, PACKET_ID),
    )


_PEERS: list[tuple[str, Callable[[], Candidate]]] = [
    ("mqtt5", mqtt5),
    ("mqttium", mqttium),
    ("gmqtt", gmqtt),
    ("zmqtt", zmqtt),
    ("amqtt", amqtt),
    ("paho", paho_mqtt),
]


def candidates() -> tuple[list[Candidate], list[str]]:
    """Return the candidates that can be used here, and the names of those that cannot."""
    found = [mqttws()]
    absent = []
    for module, make in _PEERS:
        if find_spec(module) is None:
            absent.append(make.__name__.replace("_", "-"))
        else:
            found.append(make())
    found.append(fixed_struct())
    return found, absent


def python_version() -> str:
    """Return the interpreter's version, as ``3.11.7``."""
    return ".".join(map(str, sys.version_info[:3]))
