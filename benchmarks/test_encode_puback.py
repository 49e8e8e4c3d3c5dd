"""How long does a PUBACK take to be made of its packet identifier and encoded?"""

from benchmarks.asking import encoding
from benchmarks.conftest import Ask
from benchmarks.traffic import PUBACK

QUESTION = encoding(__doc__, "encode PUBACK", PUBACK, lambda candidate: candidate.encode_puback)


def test_encode_puback(ask: Ask) -> None:
    ask(QUESTION)
