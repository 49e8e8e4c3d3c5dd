"""A hub's shared access policies in the state folder, so that connection strings stay good.

Knows the file and its keys. They are in no log and no ``repr``.
"""

import base64
import json
import os
from pathlib import Path

from ..errors import StoreDamaged, store_failed
from ..hub.service.access import RIGHTS, Policy
from .hub_base import new_policies

FILE = "hub-policies.json"


def load_policies(folder: Path, hub: str) -> list[Policy]:
    """Return the policies of a hub from a folder; make them if they are not there.

    Raises:
        StoreFailed: the file cannot be read or written.
    """
    file = folder / FILE
    known = _read(file)
    if hub.lower() not in known:
        known[hub.lower()] = {
            policy.name: [base64.b64encode(key).decode() for key in policy.keys]
            for policy in new_policies()
        }
        _write(file, known)
    return [
        Policy(name, tuple(base64.b64decode(key) for key in keys), RIGHTS[name])
        for name, keys in known[hub.lower()].items()
    ]


def _read(file: Path) -> dict[str, dict[str, list[str]]]:
    known: dict[str, dict[str, list[str]]] | None
    try:
        known = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise store_failed(f"the hub's policies: {file}", error) from error
    except ValueError:  # it knows the text, which holds keys
        known = None
    if known is None or not _are_good(known):
        raise StoreDamaged(
            f"the hub's policies cannot be read: {file}",
            hint="remove the file: new keys are made then",
        )
    return known


def _are_good(known: object) -> bool:
    try:
        return isinstance(known, dict) and all(
            set(policies) == set(RIGHTS)
            and all(
                len(base64.b64decode(key, validate=True)) >= 16
                for keys in policies.values()
                for key in keys
            )
            for policies in known.values()
        )
    except (ValueError, TypeError, AttributeError):
        return False


def _write(file: Path, known: dict[str, dict[str, list[str]]]) -> None:
    part = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w") as new:
            json.dump(known, new)
        part.replace(file)
    except OSError as error:
        raise store_failed(f"the hub's policies: {file}", error) from error
