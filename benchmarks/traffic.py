"""The packets that the questions are asked with: rows of the tests' packet table, many times."""

from mqttws.wire import PubAck, Publish, encode

TOPIC = "plant/7/line/3/sensor/21"
"""24 bytes, as long as topics of sensors tend to be."""
PAYLOAD = b'{"t":21.5,"h":40.25,"p":1013.2,"unit":"metric","seq":123456789}\n'
"""64 bytes of JSON."""
PACKET_ID = 1234

QOS_1 = Publish(TOPIC, PAYLOAD, 1, packet_id=PACKET_ID)
QOS_0 = Publish(TOPIC, PAYLOAD)
PUBACK = PubAck(PACKET_ID)
LARGE = Publish(TOPIC, bytes(range(256)) * 4096)
"""A payload of 1 MiB."""

PIECE = 64 * 1024
"""What a read from a socket returns at most, in bytes."""

assert len(TOPIC) == 24
assert len(PAYLOAD) == 64


def with_properties(packet: Publish | PubAck) -> bytes:
    """Return the packet as MQTT 5 would have it: an empty list of properties in a PUBLISH."""
    data = encode(packet)
    if isinstance(packet, PubAck):
        return data
    topic_end = 4 + len(packet.topic) + (2 if packet.qos else 0)
    return bytes((data[0], data[1] + 1)) + data[2:topic_end] + b"\0" + data[topic_end:]


def stream(data: bytes, count: int) -> list[bytes]:
    """Return ``count`` packets one after the other, cut into pieces of 64 KiB."""
    whole = data * count
    return [whole[at : at + PIECE] for at in range(0, len(whole), PIECE)]
