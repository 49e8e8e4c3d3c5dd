"""Types in public signatures: each is importable from a public module."""

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import mqttws
import mqttws.protocol
import mqttws.types
import mqttws.wire


def _classes(hint: Any) -> Iterator[type]:
    """Yield the package's classes in a type."""
    if isinstance(hint, list | tuple):
        for part in hint:
            yield from _classes(part)
    elif isinstance(hint, type) and hint.__module__.startswith("mqttws"):
        yield hint
    yield from (one for part in typing.get_args(hint) for one in _classes(part))


def _hints(thing: Any) -> list[Any]:
    try:
        hints = typing.get_type_hints(thing)
        return [hint for name, hint in hints.items() if not name.startswith("_")]
    except (NameError, TypeError):  # of names that are for the checker alone
        return []


def _used() -> Iterator[tuple[str, type]]:
    """Yield each class in a public signature or attribute, and where."""
    for name in mqttws.__all__:
        public = getattr(mqttws, name)
        things = {name: public}
        if inspect.isclass(public):
            members = {one: inspect.getattr_static(public, one) for one in dir(public)}
            things |= {
                f"{name}.{one}": getattr(of, "fget", None) or getattr(of, "__func__", of)
                for one, of in members.items()
                if not one.startswith("_") or one == "__init__"
            }
        for place, thing in things.items():
            for hint in _hints(thing):
                yield from ((place, kind) for kind in _classes(hint))


MADE_INSIDE = {"MessageStream", "CloudMessageStream", "DesiredChanges", "SyncStream"}
MADE_INSIDE |= {"TelemetryReceipt", "Receipt", "ReceivedMessage", "CloudMessage"}
"""Classes that a program gets and does not make: their constructors are the package's."""

FOR_SERVICES = {"AsyncLocalDps", "AsyncLocalHub"}
"""Classes with pieces for the package's own services on the same loop."""


def test_every_type_in_a_public_signature_is_importable_from_a_public_module() -> None:
    public: set[Any] = {getattr(mqttws, name) for name in mqttws.__all__}
    for module in (mqttws.types, mqttws.wire, mqttws.protocol):
        public |= {getattr(module, name) for name in module.__all__}
    hidden = set()
    for place, kind in _used():
        owner, _, member = place.partition(".")
        if owner in MADE_INSIDE and member in ("", "__init__"):
            continue
        if owner in FOR_SERVICES and member not in SYNC_MEMBERS[owner]:
            continue
        if kind not in public:
            hidden.add((place, f"{kind.__module__}.{kind.__name__}"))
    assert hidden == set()


SYNC_MEMBERS = {
    name: {"__init__", *dir(getattr(mqttws, name.removeprefix("Async")))} for name in FOR_SERVICES
}
"""Members that the synchronous twin has too, which are for programs."""
