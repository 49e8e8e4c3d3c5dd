"""The recorder of errors and the walk over the raises, on small examples."""

import pytest

from mqttws import Cause, ConnectFailed, MqttwsError, Party, UsageError

from .raises import all_raises, explained, is_pythons, missed, raises_of
from .recording.error_record import faults_of

SOURCE = """
class A:
    def f(self):
        raise UsageError(
            "x"
        )
    def g(self):
        raise ValueError("x")
    def h(self, error):
        raise error
    def i(self):
        raise _refusal(1) from None
    def j(self):
        raise NotImplementedError
"""


def test_the_walk_finds_each_raise_of_a_new_error_and_its_lines() -> None:
    found = list(raises_of("a.py", SOURCE))
    assert [(one.function, one.first, one.last) for one in found] == [
        ("A.f", 4, 6),
        ("A.g", 8, 8),
        ("A.i", 12, 12),
        ("A.j", 14, 14),
    ]
    assert missed(found, {("a.py", 5)}) == found[1:]
    assert missed(found, {("b.py", 5)}) == found


def test_each_explained_raise_is_there_and_has_a_reason() -> None:
    there = {(one.file, one.function, one.text) for one in all_raises()}
    for key, reason in explained().items():
        assert key in there
        assert reason


def test_each_raise_of_a_class_of_pythons_own_has_its_reason_written_down() -> None:
    reasons = explained()
    left = [
        one
        for one in all_raises()
        if is_pythons(one.text) and (one.file, one.function, one.text) not in reasons
    ]
    assert left == []


def _with(error: MqttwsError, **fields: object) -> MqttwsError:
    for name, value in fields.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (_with(MqttwsError("x"), hop="tls"), "hop"),
        (_with(ConnectFailed("x"), hop=None), "hop is None"),
        (_with(MqttwsError("x"), cause="x"), "cause"),
        (_with(MqttwsError("x"), hint=None), "hint"),
        (UsageError("x", cause=Cause.REFUSED), "a UsageError that is not the caller's"),
        (UsageError("x", party=Party.HOST), "a UsageError that is not the caller's"),
    ],
)
def test_a_field_that_is_not_set_sensibly_is_a_fault(error: MqttwsError, fault: str) -> None:
    if fault == "cause":
        error.party, error.retryable = Party.HOST, False
    assert any(one.startswith(fault) for one in faults_of(error))
    assert faults_of(UsageError("x")) == []
