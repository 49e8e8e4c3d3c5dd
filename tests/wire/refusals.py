"""How each refusal of the packet table is worded: ``python -m tests.wire.refusals`` writes it down.

The words are kept in refusals.txt, so that a change of them is seen and meant.
"""

from collections.abc import Iterator
from pathlib import Path

from mqttws.errors import MqttwsError, PacketTooLarge
from mqttws.wire import Decoder, decode, encode
from tests.packet_table import BAD, UNUSABLE

WORDS = Path(__file__).with_name("refusals.txt")


def refusals() -> Iterator[str]:
    """Yield the name and the words of each refusal, on one line."""
    for bad in BAD:
        try:
            decode(bad.data)
        except MqttwsError as error:
            yield f"{bad.name} => {error}"
    for unusable in UNUSABLE:
        try:
            encode(unusable.packet)
        except MqttwsError as error:
            # An address in a repr, and a text of 65536 characters, say nothing.
            words = str(error).split(" object at 0x")[0]
            yield f"{unusable.name} => {words[:120]!r}"
    for data in (b"", b"\xc0", b"\xc0\x00\xc0", b"\x30\xff\xff\xff\x7f"):
        try:
            decode(data)
        except MqttwsError as error:
            yield f"decode {data!r} => {error}"
    for make in (lambda: Decoder(1), lambda: Decoder().feed("text"), lambda: decode(5)):  # type: ignore[arg-type]
        try:
            make()
        except MqttwsError as error:
            yield f"decoder => {error}"
    decoder = Decoder(100)
    decoder.feed(b"\x30\x80\x01")
    try:
        decoder.next_packet()
    except PacketTooLarge as error:
        yield f"too large => {error}"


def text() -> str:
    """Return all of it."""
    return "\n".join(refusals()) + "\n"


if __name__ == "__main__":
    WORDS.write_text(text(), encoding="utf-8")
