"""How long does a QoS 1 PUBLISH take to be made of its values and encoded?"""

from benchmarks.asking import encoding
from benchmarks.conftest import Ask
from benchmarks.traffic import QOS_1

QUESTION = encoding(__doc__, "encode QoS 1", QOS_1, lambda candidate: candidate.encode_publish)


def test_encode_qos1(ask: Ask) -> None:
    ask(QUESTION)
