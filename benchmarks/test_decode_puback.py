"""How long does a PUBACK take to decode, in a stream that arrives in pieces of 64 KiB?"""

from benchmarks.asking import decoding
from benchmarks.conftest import Ask
from benchmarks.traffic import PUBACK

QUESTION = decoding(__doc__, "decode PUBACK", PUBACK, 1000)


def test_decode_puback(ask: Ask) -> None:
    ask(QUESTION)
