"""The fuzz targets: what is kept still holds, and what is to be planted still has its place.

The inputs of ``compiled`` need the compiled package beside the one as it is written: only the fuzzer
runs them.
"""

import contextlib
import io
from pathlib import Path

import pytest

from .one import TARGETS, seeds

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "compiled"])
def test_each_kept_input_keeps_the_invariant(name: str) -> None:
    check = TARGETS[name].load()
    kept = seeds(name)
    assert len(kept) > len(TARGETS[name].seeds)
    with contextlib.redirect_stdout(io.StringIO()):
        for data in kept:
            check(data)


@pytest.mark.parametrize("name", TARGETS)
def test_the_fault_to_be_planted_has_its_place(name: str) -> None:
    file, text, fault = TARGETS[name].fault
    source = (ROOT / file).read_text()
    assert source.count(text) >= 1
    assert source.replace(text, fault, 1) != source
