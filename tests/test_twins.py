"""A synchronous name and its asyncio twin have the same members; an assignment makes both."""

import ast
import copy
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mqttws
from mqttws.options import ASSIGNED_CLIENT, CLIENT, SYNC_ASSIGNED_CLIENT, SYNC_CLIENT

PAIRS = [
    (mqttws.Client, mqttws.AsyncClient),
    (mqttws.HubClient, mqttws.AsyncHubClient),
    (mqttws.LocalDps, mqttws.AsyncLocalDps),
    (mqttws.LocalHub, mqttws.AsyncLocalHub),
]

ONLY_SYNC = {
    mqttws.LocalDps: {"run"},  # the way onto the twin's loop
    mqttws.LocalHub: {"run"},
}
ONLY_ASYNC = {
    # Pieces for the package's own services on the same loop, which no other thread may touch; from
    # there they are reached by LocalDps.run.
    mqttws.AsyncLocalDps: {
        "clock", "directory", "enrollments", "faults", "front", "handed", "http", "issuing",
        "policies", "service", "store", "tls",
    },
    mqttws.AsyncLocalHub: {"core"},
}  # fmt: skip


def members(kind: type) -> set[str]:
    """Return the public members of a class: those of the class, and attributes its makers set."""
    found = {name for name in dir(kind) if not name.startswith("_")}
    for one in kind.__mro__:
        made = getattr(one, "__init__", None)
        if one.__module__.startswith("mqttws.") and inspect.isfunction(made):
            found |= {name for name in made.__code__.co_names if f"self.{name}" in _source(made)}
    return {name for name in found if not name.startswith("_")}


def _source(function: Callable[..., Any]) -> set[str]:
    lines = inspect.getsource(function).splitlines()
    return {line.split("=")[0].split(":")[0].strip() for line in lines if " = " in line}


@pytest.mark.parametrize(("sync", "other"), PAIRS, ids=lambda kind: kind.__name__)
def test_a_pair_has_the_same_members(sync: type, other: type) -> None:
    assert members(sync) - members(other) == ONLY_SYNC.get(sync, set())
    assert members(other) - members(sync) == ONLY_ASYNC.get(other, set())


@pytest.mark.parametrize("name", ["provision", "provision_fleet", "diagnose"])
def test_a_pair_of_functions_has_the_same_parameters(name: str) -> None:
    sync, other = (
        inspect.signature(getattr(mqttws, one)).parameters for one in (name, f"{name}_async")
    )
    assert list(sync.values()) == list(other.values())


def test_no_two_public_classes_share_a_name() -> None:
    root = Path(mqttws.__file__).parent
    places: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                places.setdefault(node.name, []).append(path.relative_to(root).as_posix())
    twice = {name: found for name, found in places.items() if len(found) > 1}
    public = set(mqttws.__all__) | {"Assignment", "ProvisionOptions", "Step", "parse_certificate"}
    assert {name: found for name, found in twice.items() if name in public} == INNER


INNER = {
    # The service's side of the same thing, on no path that is documented for users.
    "CloudMessage": ["hub/device/messages.py", "hub/service/queue.py"],
    "Twin": ["hub/device/twin.py", "hub/service/twin.py"],
    "MemoryStore": ["client/store.py", "local/stores/memory.py"],
    "SqliteStore": ["client/sqlite.py", "local/stores/sqlite.py"],
    # A command of the shell.
    "provision": ["cli/provision.py", "provisioning/provision.py"],
}


ASSIGNED = mqttws.Assignment("hub.example", "dev", "", "dev", "op")
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def test_an_assignment_makes_clients_with_the_credential_it_holds() -> None:
    held = ASSIGNED._holding(mqttws.SymmetricKey("dev", KEY))
    for client in (held.client(), ASSIGNED.client(mqttws.SymmetricKey("dev", KEY))):
        assert isinstance(client, mqttws.Client)
    assert isinstance(held.client_async(keep_alive=30), mqttws.AsyncClient)
    with pytest.raises(mqttws.UsageError, match="credential: found None"):
        ASSIGNED.client()


def test_the_credential_is_in_no_text_pickle_or_comparison() -> None:
    held = ASSIGNED._holding(mqttws.SymmetricKey("dev", KEY))
    assert held == ASSIGNED
    assert repr(held) == repr(ASSIGNED)
    for other in (pickle.loads(pickle.dumps(held)), copy.copy(held)):
        assert other == ASSIGNED
        with pytest.raises(mqttws.UsageError, match="credential"):
            other.client()


def test_an_assignments_client_has_the_options_of_a_client() -> None:
    given = {"client_id", "username", "password", "clean_session"}
    way = {"credential", "transport", "host", "port", "api_version", "token_lifetime"}
    assert set(ASSIGNED_CLIENT) == set(CLIENT) - given | way
    assert set(SYNC_ASSIGNED_CLIENT) == set(SYNC_CLIENT) - given | way
