"""How long does a QoS 1 PUBLISH take to decode, in a stream that arrives in pieces of 64 KiB?"""

from benchmarks.asking import decoding
from benchmarks.conftest import Ask
from benchmarks.traffic import QOS_1

QUESTION = decoding(__doc__, "decode QoS 1", QOS_1, 700)


def test_decode_qos1(ask: Ask) -> None:
    ask(QUESTION)
