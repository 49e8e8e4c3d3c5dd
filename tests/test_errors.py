"""Errors as data: five fields everywhere, and no decision by the words of a sentence."""

import ast
import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import mqttws
from mqttws import Cause, Hop, MqttwsError, Party
from mqttws import errors as tree
from mqttws.errors.local import store_failed
from mqttws.hops import usual_party
from mqttws.retry import Backoff, is_forbidden, is_refused_login, reconnect_wait

ROOT = Path(mqttws.__file__).parent


def classes(root: type[MqttwsError] = MqttwsError) -> Iterator[type[MqttwsError]]:
    yield root
    for kind in root.__subclasses__():
        yield from classes(kind)


PUBLIC = sorted({kind for kind in classes() if kind.__module__.startswith("mqttws.errors")},
                key=lambda kind: kind.__name__)  # fmt: skip


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_class_has_the_five_fields_set_sensibly(kind: type[MqttwsError]) -> None:
    error = kind()
    assert error.hop is None or isinstance(error.hop, Hop)
    assert (error.hop is not None) is issubclass(kind, tree.ConnectFailed | tree.SubscribeRefused)
    assert isinstance(error.cause, Cause)
    assert error.party is None or isinstance(error.party, Party)
    assert isinstance(error.retryable, bool)
    assert isinstance(error.hint, str)
    if kind not in (MqttwsError, tree.ConnectFailed, tree.ProvisioningError, tree.ConnectRefused):
        assert error.cause is not Cause.UNKNOWN
    if issubclass(kind, tree.UsageError):
        assert (error.party, error.retryable, error.hint) == (Party.CALLER, False, "")
    assert set(error.to_json()) == set(MqttwsError().to_json())


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_class_takes_the_fields_as_keywords_and_survives_a_copy(
    kind: type[MqttwsError],
) -> None:
    error = kind(
        hop=Hop.POLL, cause=Cause.DISK_FULL, party=Party.NETWORK, retryable=True, hint="do it"
    )
    for one in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (one.hop, one.cause, one.party) == (Hop.POLL, Cause.DISK_FULL, Party.NETWORK)
        assert (one.retryable, one.hint) == (True, "do it")


def test_every_class_is_importable_from_the_top() -> None:
    assert {kind.__name__ for kind in PUBLIC} <= set(mqttws.__all__)


@pytest.mark.parametrize("cause", Cause, ids=lambda cause: cause.name)
def test_every_cause_has_a_value_and_a_party_on_every_hop(cause: Cause) -> None:
    assert cause.value.replace(".", "-") == cause.name.lower().replace("_", "-")
    for hop in Hop:
        party = usual_party(cause, hop)
        assert party is None or isinstance(party, Party)
        if cause.party is Party.SERVER and hop in (Hop.PROXY_NAME, Hop.PROXY_TCP, Hop.PROXY_TLS):
            assert party is Party.PROXY


def instances() -> Iterator[MqttwsError]:
    """Yield an error of each class with each cause."""
    for kind in PUBLIC:
        for cause in Cause:
            yield kind(cause=cause)


def decisions(error: MqttwsError) -> tuple[object, ...]:
    """Return what the retry policies, the exit codes and the doctor's first verdict make of it."""
    return (
        reconnect_wait(error, 3, 0.5, Backoff()),
        is_refused_login(error),
        is_forbidden(error),
        error.exit_code,
        error.party,
        error.retryable,
    )


def test_no_decision_depends_on_a_sentence_or_a_hint() -> None:
    for error in instances():
        before = decisions(error)
        error.args = tuple("x" if isinstance(one, str) else one for one in error.args)
        error.hint = "x"
        assert decisions(error) == before


SENTENCES = {"hint", "detail", "message"}


def test_no_code_looks_for_words_in_a_sentence_or_a_hint() -> None:
    """``"no route" in error.hint`` and the like: a rewording would change what is done."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and any(
                isinstance(op, ast.In | ast.NotIn) for op in node.ops
            ):
                looked = node.comparators[0]
                text = isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
                in_hint = isinstance(looked, ast.Attribute) and looked.attr in SENTENCES
                in_error = (
                    isinstance(looked, ast.Call)
                    and isinstance(looked.func, ast.Name)
                    and looked.func.id == "str"
                    and any("error" in ast.unparse(one) for one in looked.args)
                )
                if text and (in_hint or in_error):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("startswith", "endswith")
                and isinstance(node.func.value, ast.Attribute)
                and node.func.value.attr in SENTENCES
            ):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_usage_errors_are_not_raised_for_the_worlds_faults() -> None:
    full = store_failed("no room", OSError(28, "No space left on device"))
    assert (type(full), full.cause) == (mqttws.StoreFull, Cause.DISK_FULL)
    locked = store_failed("locked", _SqliteError("SQLITE_BUSY_SNAPSHOT"))
    assert (type(locked), locked.retryable) == (mqttws.StoreLocked, True)
    damaged = store_failed("damaged", _SqliteError("SQLITE_CORRUPT"))
    assert (type(damaged), damaged.retryable) == (mqttws.StoreDamaged, False)
    for error in (full, locked, damaged):
        assert error.party is Party.HOST
        assert not isinstance(error, mqttws.UsageError)


class _SqliteError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sqlite_errorname = name
