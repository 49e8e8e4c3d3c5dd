"""How long does a QoS 0 PUBLISH take to decode, in a stream that arrives in pieces of 64 KiB?"""

from benchmarks.asking import decoding
from benchmarks.conftest import Ask
from benchmarks.traffic import QOS_0

QUESTION = decoding(__doc__, "decode QoS 0", QOS_0, 700)


def test_decode_qos0(ask: Ask) -> None:
    ask(QUESTION)
