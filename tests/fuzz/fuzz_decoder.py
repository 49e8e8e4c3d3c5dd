"""Invariant: any bytes are packets, "not yet" or one ProtocolError, however they are cut.

Whole, byte by byte and in two pieces give the same packets, the same error and the same rest; what
was read can be written, is no longer than it was, and is read again as the same packet.

    pip install atheris
    python tests/fuzz/fuzz_decoder.py -runs=10000000 -max_len=64
"""

import sys

import atheris

with atheris.instrument_imports(include=["mqttws.wire"]):
    from mqttws.errors import ProtocolError, UsageError
    from mqttws.wire import Connect, Decoder, Packet, decode, encode

LIMIT = 4096


def outcome(pieces: list[bytes], asked: int = 0) -> tuple[list[Packet], str, int]:
    """Return the packets, the error's text and how many bytes are left.

    ``asked`` says after each piece how often a packet is asked for: two bits a piece, 3 for never,
    0 until there is none; at the end until there is none.
    """
    decoder = Decoder(LIMIT)
    found: list[Packet] = []
    try:
        for piece in pieces:
            decoder.feed(piece)
            times, asked = asked & 3, asked >> 2
            while times != 3 and (packet := decoder.next_packet()) is not None:
                found.append(packet)
                times = times - 1 or 3 if times else 0
        while (packet := decoder.next_packet()) is not None:
            found.append(packet)
    except ProtocolError as error:
        return found, f"{type(error).__name__}: {error}", decoder.buffered
    return found, "", decoder.buffered


def check(data: bytes) -> None:
    """Raise AssertionError, or whatever escapes, if the invariant does not hold."""
    whole = outcome([data])
    middle = data[0] % len(data) if data else 0
    assert outcome([data[:middle], data[middle:]]) == whole
    cuts = sorted(byte % (len(data) + 1) for byte in data[-3:])
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert outcome(pieces, int.from_bytes(data[:2], "big")) == whole
    if middle % 8 == 0:  # the slowest by far, so not with every input
        assert outcome([data[at : at + 1] for at in range(len(data))]) == whole
    size = 0
    for packet in whole[0]:
        try:
            written = encode(packet)
        except UsageError:
            # A server reads what it must answer with CONNACK 2; a client may not write it.
            assert isinstance(packet, Connect)
            assert not packet.client_id
            assert not packet.clean_session
            return
        assert decode(written) == packet
        size += len(written)
    assert size + whole[2] <= len(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
