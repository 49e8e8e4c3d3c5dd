"""Methods: who serves which, and that a call is begun once and answered once."""

import pytest

from mqttws import UsageError
from mqttws.hub.device.methods import (
    Call,
    MethodRequest,
    MethodResponse,
    MethodTable,
    OpenCalls,
)


def handler() -> None:
    """Stand in for an application's."""


def test_a_method_has_its_handler_or_the_one_for_all_others():
    table: MethodTable = MethodTable()
    assert not table
    table.add("reboot", handler, 5.0)
    assert table.find("Reboot") is None  # case counts
    table.add(None, print, 30.0)
    assert table.find("reboot").handler is handler
    assert table.find("Reboot").handler is print
    assert table.find("reboot").time_limit == 5.0


@pytest.mark.parametrize(
    ("name", "served_by", "limit", "fault"),
    [
        ("", handler, 5, "method name ''"),
        ("a/b", handler, 5, "method name 'a/b'"),
        (7, handler, 5, "method name 7"),
        ("a", "handler", 5, "found str; allowed: callable"),
        ("a", handler, 0, "time limit 0; allowed: above 0 to 300 s"),
        ("a", handler, 301, "time limit 301"),
        ("taken", handler, 5, "has a handler already"),
    ],
)
def test_what_cannot_serve_is_refused(name, served_by, limit, fault: str):
    table: MethodTable = MethodTable()
    table.add("taken", handler, 5.0)
    with pytest.raises(UsageError, match=fault):
        table.add(name, served_by, limit)


@pytest.mark.parametrize("status", ["200", 2**31, True, None])
def test_a_status_is_a_whole_number(status):
    with pytest.raises(UsageError, match="method status"):
        MethodResponse(status)


def begin(calls: OpenCalls, request_id: str) -> Call | None:
    return calls.begin(MethodRequest("m", None, request_id))


def test_a_call_that_comes_twice_on_a_connection_begins_once():
    calls = OpenCalls(10)
    calls.on_connection(1)
    call = begin(calls, "1")
    assert call is not None
    assert begin(calls, "1") is None  # it is open
    assert calls.finish(call)
    assert begin(calls, "1") is None  # it was answered
    assert not calls.finish(call)  # and is not answered again


def test_a_call_may_be_answered_on_the_next_connection():
    calls = OpenCalls(10)
    calls.on_connection(1)
    call = begin(calls, "1")
    calls.on_connection(2)
    assert calls.finish(call)


def test_an_id_that_the_hub_uses_again_on_a_new_connection_is_another_call():
    calls = OpenCalls(10)
    calls.on_connection(1)
    older = begin(calls, "1")
    calls.on_connection(2)
    newer = begin(calls, "1")
    assert newer is not None
    assert not calls.finish(older)  # its answer would reach the newer call
    assert calls.finish(newer)
    calls.on_connection(3)
    assert begin(calls, "1") is not None


def test_calls_are_bounded():
    calls = OpenCalls(2)
    calls.on_connection(1)
    first = begin(calls, "1")
    begin(calls, "2")
    assert calls.full
    calls.finish(first)
    assert not calls.full
    assert len(calls) == 1
