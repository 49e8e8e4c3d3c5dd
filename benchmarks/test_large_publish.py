"""How long does a PUBLISH of 1 MiB take to decode that arrives in pieces of 64 KiB?"""

from benchmarks.asking import decoding, in_pieces
from benchmarks.conftest import Ask
from benchmarks.traffic import LARGE

QUESTION = decoding(__doc__, "1 MiB publish", LARGE, 1, in_pieces, floor=True)


def test_large_publish(ask: Ask) -> None:
    ask(QUESTION)
