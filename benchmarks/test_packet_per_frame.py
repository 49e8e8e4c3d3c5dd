"""How long does a QoS 1 PUBLISH take to decode that arrives in a frame of its own?"""

from benchmarks.asking import decoding, one_by_one
from benchmarks.conftest import Ask
from benchmarks.traffic import QOS_1

QUESTION = decoding(__doc__, "one per frame", QOS_1, 700, one_by_one)


def test_packet_per_frame(ask: Ask) -> None:
    ask(QUESTION)
