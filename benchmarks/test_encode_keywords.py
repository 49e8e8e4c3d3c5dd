"""How long does a QoS 1 PUBLISH take to be made with keywords, as people write it, and encoded?"""

from benchmarks.asking import encoding
from benchmarks.conftest import Ask
from benchmarks.traffic import QOS_1

QUESTION = encoding(
    __doc__,
    "encode, keywords",
    QOS_1,
    lambda candidate: candidate.encode_keywords or candidate.encode_publish,
)


def test_encode_keywords(ask: Ask) -> None:
    ask(QUESTION)
