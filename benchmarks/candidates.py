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
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import mqttws.errors
from benchmarks.traffic import PACKET_ID, PAYLOAD, TOPIC
from mqttws import wire

VALUES: dict[str, Any] = {"TOPIC": TOPIC, "PAYLOAD": PAYLOAD, "PACKET_ID": PACKET_ID}
"""What is encoded, by the names that the statements use."""

Facts = tuple[Any, ...]
"""(topic, payload, qos, packet id) of a PUBLISH, (packet id,) of a PUBACK."""

Pieces = list[bytes]


@dataclass(frozen=True)
class Statement:
    """Code that is timed as it stands, so that no function call is added to it."""

    code: str
    names: dict[str, Any]

    def run(self) -> bytes:
        """Run it once and return what it encoded."""
        return bytes(eval(self.code, dict(self.names)))


@dataclass
class Candidate:
    """One codec.

    Attributes:
        name: what it is called in tables.
        package: what it is called where packages are installed from; empty for the floors.
        kind: "pure", "compiled" (from Python), "Rust" or "floor".
        remark: what to know before comparing: MQTT 5, checks that it skips.
        decode: feeds each piece as it would arrive, takes every packet, and returns how many there
            were and the last one.
        facts: of what ``decode`` returned.
        encode_publish: makes a QoS 1 PUBLISH of topic, payload and packet id, and encodes it.
        encode_keywords: the same, its fields given as keywords; None where it is the same call.
        encode_puback: makes a PUBACK of a packet id, and encodes it.
        v5: whether its packets are those of MQTT 5.
    """

    name: str
    package: str
    kind: str
    remark: str = ""
    decode: Callable[[Pieces], tuple[int, Any]] | None = None
    facts: Callable[[Any], Facts] | None = None
    encode_publish: Statement | None = None
    encode_puback: Statement | None = None
    encode_keywords: Statement | None = None
    v5: bool = False

    @property
    def ours(self) -> bool:
        """Whether it is the codec of this package."""
        return self.package == "mqttws"

    @property
    def version(self) -> str:
        """The installed package's version; empty for the floors and for a source tree."""
        try:
            return version(self.package) if self.package else ""
        except PackageNotFoundError:
            return ""


class _SourceFinder(MetaPathFinder):
    """Finds ``NAME.…`` in the .py files of a package, beside which compiled ones may lie."""

    def __init__(self, name: str, package: Path) -> None:
        self.name = name
        self._package = package

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        head, _, rest = fullname.partition(".")
        if head != self.name:
            return None
        place = self._package.joinpath(*rest.split("."))
        if not rest:
            package = ModuleSpec(fullname, None, is_package=True)
            package.submodule_search_locations = []
            return package
        if place.is_dir():
            return spec_from_file_location(
                fullname, place / "__init__.py", submodule_search_locations=[]
            )
        return spec_from_file_location(fullname, place.with_suffix(".py"))


def pure_wire() -> Any:
    """Return the uncompiled ``mqttws.wire``, whichever is installed."""
    if not wire.COMPILED:
        return wire
    return _from_source("_pure_mqttws", Path(mqttws.__file__).parent)


def _from_source(name: str, package: Path) -> Any:
    """Return the uncompiled ``wire`` of a package, imported under a name of its own."""
    if not any(isinstance(one, _SourceFinder) and one.name == name for one in sys.meta_path):
        sys.meta_path.insert(0, _SourceFinder(name, package))
    module = import_module(f"{name}.wire")
    assert not module.COMPILED
    return module


def before(folder: Path) -> Candidate:
    """The codec of an earlier commit that lies in a folder, interpreted."""
    found = _mqttws(_from_source("_earlier_mqttws", folder / "mqttws"))
    found.name = BEFORE
    return found


BEFORE = "mqttws (pure) before"


def _mqttws(wire: Any) -> Candidate:
    """Return this package's codec, with all its checks."""
    publish_type, puback_type = wire.Publish, wire.PubAck

    def decode(pieces: Pieces) -> tuple[int, Any]:
        decoder = wire.Decoder(max_packet_size=2 * 1024 * 1024)
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
        if isinstance(packet, puback_type):
            return (packet.packet_id,)
        return packet.topic, packet.payload, packet.qos, packet.packet_id

    kind = "compiled" if wire.COMPILED else "pure"
    return Candidate(
        f"mqttws ({kind})",
        "mqttws",
        kind,
        "every check of the standard",
        decode,
        facts,
        Statement(
            "Publish(TOPIC, PAYLOAD, 1, False, False, PACKET_ID).encode()",
            {**VALUES, "Publish": publish_type},
        ),
        Statement("PubAck(PACKET_ID).encode()", {**VALUES, "PubAck": puback_type}),
        Statement(
            "Publish(topic=TOPIC, payload=PAYLOAD, qos=1, packet_id=PACKET_ID).encode()",
            {**VALUES, "Publish": publish_type},
        ),
    )


def mqttws_pure() -> Candidate:
    """This package, interpreted."""
    return _mqttws(pure_wire())


def mqttws_compiled() -> Candidate:
    """This package, compiled."""
    return _mqttws(wire)


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
        "mqttium",
        "pure",
        "its PUBACK is a function of a number, without a packet",
        decode,
        facts,
        Statement(
            "encode(TOPIC, PAYLOAD, qos=QOS, retain=False, dup=False, mid=PACKET_ID)",
            {**VALUES, "encode": encode_publish_item_v311, "QOS": at_least_once},
        ),
        Statement("encode(PACKET_ID)", {**VALUES, "encode": encode_puback_v311}),
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
        "gmqtt",
        "pure",
        "checks nothing; PUBLISH needs its client's state, PUBACK is a function of a number",
        decode,
        facts,
        None,
        Statement(
            "build(PUBACK, PACKET_ID, False, proto_ver=V311)",
            {
                **VALUES,
                "build": CommandWithMidPacket.build_package,
                "PUBACK": puback,
                "V311": MQTTv311,
            },
        ),
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
        "zmqtt",
        "pure",
        "skips most checks",
        decode,
        facts,
        Statement(
            "encode(Publish(topic=TOPIC, payload=PAYLOAD, qos=QOS, retain=False, dup=False,"
            " packet_id=PACKET_ID), version='3.1.1')",
            {**VALUES, "encode": encode, "Publish": Publish, "QOS": qos},
        ),
        Statement(
            "encode(PubAck(packet_id=PACKET_ID), version='3.1.1')",
            {**VALUES, "encode": encode, "PubAck": PubAck},
        ),
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
        "amqtt",
        "pure",
        "skips most checks; reads only what is all there",
        decode,
        facts,
        Statement(
            "build(TOPIC, PAYLOAD, PACKET_ID, False, 1, False).to_bytes()",
            {**VALUES, "build": PublishPacket.build},
        ),
        Statement("build(PACKET_ID).to_bytes()", {**VALUES, "build": PubackPacket.build}),
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
            self.at = at + size
            return self.data[at : at + size]

        def close(self) -> None:
            pass

    def client_with(data: bytes) -> Any:
        client: Any = Client(CallbackAPIVersion.VERSION2)
        client._sock = Socket(data)
        return client

    reader = client_with(b"")
    taken: list[Any] = [None]
    reader._handle_on_message = lambda message: taken.__setitem__(0, message)
    reader._send_puback = lambda _packet_id: 0
    reader._handle_pubackcomp = lambda _kind: taken.__setitem__(
        0, struct.unpack("!H", reader._in_packet["packet"])
    )

    def decode(pieces: Pieces) -> tuple[int, Any]:
        reader._sock = socket = Socket(b"".join(pieces))
        read = reader._packet_read
        size = len(socket.data)
        count = 0
        while socket.at < size:
            read()
            count += 1
        return count, taken[0]

    def facts(packet: Any) -> Facts:
        if isinstance(packet, tuple):
            return packet
        return packet.topic, bytes(packet.payload), packet.qos, packet.mid or None

    sender = client_with(b"")
    sent: list[bytes] = [b""]
    sender._packet_queue = lambda _command, packet, *_more: sent.__setitem__(0, packet)
    names = {
        **VALUES,
        "TOPIC": TOPIC.encode(),
        "publish": sender._send_publish,
        "puback": sender._send_puback,
        "sent": sent,
    }
    return Candidate(
        "paho-mqtt",
        "paho-mqtt",
        "pure",
        "skips most checks; takes the topic as bytes; reads from a pretend socket",
        decode,
        facts,
        Statement("(publish(PACKET_ID, TOPIC, PAYLOAD, 1), sent[0])[1]", names),
        Statement("(puback(PACKET_ID), sent[0])[1]", names),
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
        "mqtt5",
        "Rust",
        "MQTT 5: a PUBLISH has one byte of properties more",
        decode,
        facts,
        Statement(
            "PublishPacket(TOPIC, payload=PAYLOAD, qos=QOS, packet_id=PACKET_ID).write()",
            {**VALUES, "PublishPacket": PublishPacket, "QOS": qos},
        ),
        Statement("PubAckPacket(PACKET_ID).write()", {**VALUES, "PubAckPacket": PubAckPacket}),
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
        "",
        "floor",
        "one fixed shape, no checks, no packet",
        decode,
        tuple,
        Statement(
            "pack(0x32, LENGTH, SIZE, TOPIC, PACKET_ID, PAYLOAD)",
            {**VALUES, "pack": shape.pack, "LENGTH": length, "SIZE": 24, "TOPIC": topic},
        ),
        Statement("pack(0x40, 2, PACKET_ID)", {**VALUES, "pack": ack.pack}),
    )


def two_copies() -> Candidate:
    """The floor of large messages: pieces are collected in a bytearray, the payload taken out."""

    def decode(pieces: Pieces) -> tuple[int, Any]:
        collected = bytearray()
        for piece in pieces:
            collected += piece
        at = 4
        while collected[at - 1] > 127:
            at += 1
        end = at + 2 + (collected[at] << 8 | collected[at + 1])
        topic = collected[at + 2 : end].decode()
        return 1, (topic, bytes(memoryview(collected)[end:]), 0, None)

    return Candidate(
        "two copies",
        "",
        "floor",
        "collects the pieces and copies the payload out",
        decode,
        tuple,
    )


_PEERS: list[tuple[str, Callable[[], Candidate]]] = [
    ("mqtt5", mqtt5),
    ("mqttium", mqttium),
    ("gmqtt", gmqtt),
    ("zmqtt", zmqtt),
    ("amqtt", amqtt),
    ("paho", paho_mqtt),
]

PEERS = [make.__name__.replace("_", "-") for _, make in _PEERS]


def candidate(name: str) -> Candidate | None:
    """Return the candidate of that name; None where its package is not installed."""
    for module, make in _PEERS:
        if make.__name__.replace("_", "-") == name:
            return make() if find_spec(module) else None
    if name == "mqttws (compiled)":
        return mqttws_compiled() if wire.COMPILED else None
    return {
        "mqttws (pure)": mqttws_pure,
        "fixed struct": fixed_struct,
        "two copies": two_copies,
    }[name]()


NAMES = ["mqttws (compiled)", "mqttws (pure)", *PEERS, "fixed struct", "two copies"]
"""Every candidate, in the order of the tables."""
