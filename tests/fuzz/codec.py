"""Fuzz targets of the codec."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from .target import Check, Target, pieces

LIMIT = 4096


def load_decoder() -> Check:
    """Return the check of one codec: cuts make no difference, and what was read can be written."""
    from mqttws import wire

    errors = importlib.import_module("mqttws.errors")
    return lambda data: check(wire, errors, data)


def outcome(
    wire: Any, errors: Any, cut: list[bytes], asked: int = 0, limit: int = LIMIT
) -> tuple[list[Any], str, int]:
    """Return the packets, the error's text and how many bytes are left.

    ``asked`` says after each piece how often a packet is asked for: two bits a piece, 3 for never,
    0 until there is none; at the end until there is none.
    """
    decoder = wire.Decoder(limit)
    found: list[Any] = []
    try:
        for piece in cut:
            decoder.feed(piece)
            times, asked = asked & 3, asked >> 2
            while times != 3 and (packet := decoder.next_packet()) is not None:
                found.append(packet)
                times = times - 1 or 3 if times else 0
        while (packet := decoder.next_packet()) is not None:
            found.append(packet)
    except errors.ProtocolError as error:
        return found, f"{type(error).__name__}: {error}", decoder.buffered
    return found, "", decoder.buffered


def check(wire: Any, errors: Any, data: bytes) -> None:
    """Check one input: whole, in two pieces, in four, byte by byte; written and read again."""
    whole = outcome(wire, errors, [data])
    middle = data[0] % len(data) if data else 0
    assert outcome(wire, errors, [data[:middle], data[middle:]]) == whole
    assert outcome(wire, errors, pieces(data), int.from_bytes(data[:2], "big")) == whole
    if middle % 8 == 0:  # the slowest by far, so not with every input
        assert outcome(wire, errors, [data[at : at + 1] for at in range(len(data))]) == whole
    size = 0
    for packet in whole[0]:
        try:
            written = wire.encode(packet)
        except errors.UsageError:
            # A server reads what it must answer with CONNACK 2; a client may not write it.
            assert isinstance(packet, wire.Connect)
            assert not packet.client_id
            assert not packet.clean_session
            return
        assert wire.decode(written) == packet
        size += len(written)
    assert size + whole[2] <= len(data)


def load_compiled() -> Check:
    """Return the check that the compiled codec and the codec as it is written do the same."""
    from mqttws import errors, wire

    if not wire.COMPILED:
        sys.exit("the codec of this installation is not compiled: pip install . in a venv")
    as_written, its_errors = written_codec()

    def compare(data: bytes) -> None:
        for cut in ([data], pieces(data)):
            ours = outcome(wire, errors, cut, limit=128)
            theirs = outcome(as_written, its_errors, cut, limit=128)
            assert repr(ours) == repr(theirs)
            for one, other in zip(ours[0], theirs[0], strict=True):
                assert encoded(wire, errors, one) == encoded(as_written, its_errors, other)

    return compare


def encoded(wire: Any, errors: Any, packet: Any) -> bytes | str:
    """Return a packet's bytes, or why it has none."""
    try:
        return bytes(wire.encode(packet))
    except errors.UsageError as error:
        return str(error)


def written_codec() -> tuple[Any, Any]:
    """Load the package a second time, under another name, from the source in this folder."""
    home = Path.cwd() / "mqttws"
    finder = _SourceOnly("mqttws_written", home)
    sys.meta_path.append(finder)  # behind the one that lets the fuzzer see branches
    return (
        importlib.import_module("mqttws_written.wire"),
        importlib.import_module("mqttws_written.errors"),
    )


class _SourceOnly:
    """Finds modules of a package of another name in ``.py`` files alone."""

    def __init__(self, name: str, home: Path) -> None:
        self._name = name
        self._home = home

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        """Return where a module is, or None if it is not one of these."""
        if name != self._name and not name.startswith(f"{self._name}."):
            return None
        place = self._home.joinpath(*name.split(".")[1:])
        if place.is_dir():
            return importlib.util.spec_from_file_location(
                name, place / "__init__.py", submodule_search_locations=[str(place)]
            )
        return importlib.util.spec_from_file_location(name, place.with_suffix(".py"))


PACKETS = (
    bytes.fromhex("101400044d5154540402003c00086465766963652d31"),
    bytes.fromhex("20020000"),
    bytes.fromhex("330a00036162630001686921c00040020001"),
    bytes.fromhex("82080001000361626301900300010131020001"),
    bytes.fromhex("b0020001e000d000c000500200016202000170020001"),
    bytes.fromhex("a2070001000361626331"),
)

TARGETS = {
    "decoder": Target(
        "any bytes are packets, 'not yet' or one ProtocolError, however they are cut; what was read"
        " can be written, is no longer than it was, and is read again as the same packet",
        ("mqttws.wire",),
        load_decoder,
        PACKETS,
        ("mqttws/wire/framing.py", "if length == 2:", "if length >= 2:"),
        largest=64,
    ),
    "compiled": Target(
        "the compiled codec and the codec as it is written find the same packets, errors and bytes",
        ("mqttws_written.wire",),
        load_compiled,
        PACKETS,
        ("mqttws/wire/framing.py", "if shift == 28:", "if shift == 21:"),
        largest=64,
    ),
}
