"""Asks a question of every candidate, by pytest-benchmark."""

from collections.abc import Callable

import pytest

from benchmarks.asking import Question
from benchmarks.candidates import NAMES, Candidate, candidate

Ask = Callable[[Question], None]


@pytest.fixture(params=NAMES)
def contender(request: pytest.FixtureRequest) -> Candidate:
    """Return a candidate, or skip it by name."""
    found = candidate(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not installed")
    return found


@pytest.fixture
def ask(contender: Candidate, benchmark: Callable[[Callable[[], object]], object]) -> Ask:
    """Return what checks and times the candidate."""

    def answer(question: Question) -> None:
        run = question.prepare(contender)
        if run is None:
            pytest.skip(f"{contender.name} has no way to do this alone")
        benchmark(run)

    return answer
