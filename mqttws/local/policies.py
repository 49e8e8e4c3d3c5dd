"""Shared access policies of the services here: their keys in the state folder, connection strings.

Knows files and keys, so that a connection string stays good over a restart. Keys are in no log and
no ``repr``.
"""

import base64
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import StoreDamaged, UsageError, store_failed
from ..hub.service.access import Policy

Rights = Mapping[str, frozenset[str]]
"""The rights of each policy, by its name."""

KnownKeys = Mapping[str, list[str]]
"""The keys of each policy, base64, by its name."""

KEY_BYTES = 32

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a client uses for it
"""Addresses to listen on that are none to connect to."""


def new_policies(rights: Rights) -> list[Policy]:
    """Return the policies of a new service, with fresh keys."""
    return [
        Policy(name, (secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES)), of)
        for name, of in rights.items()
    ]


def to_keys(policies: Iterable[Policy]) -> dict[str, list[str]]:
    """Return the keys of policies in a form for JSON."""
    return {of.name: [base64.b64encode(key).decode() for key in of.keys] for of in policies}


def from_keys(known: KnownKeys, rights: Rights) -> list[Policy]:
    """Return the policies whose keys ``to_keys`` has written.

    Raises:
        ValueError: they are not these policies, or not keys; the error holds none.
    """
    if not _are_good(known, rights):
        raise ValueError("the policies cannot be read")
    return [
        Policy(name, tuple(base64.b64decode(key) for key in known[name]), of)
        for name, of in rights.items()
    ]


def load_policies(file: Path, service: str, rights: Rights) -> list[Policy]:
    """Return the policies of a service from a file; make them if they are not there.

    Args:
        file: of all services of a kind, mode 0600; made with its folder.
        service: its name in the file.
        rights: of each policy.

    Raises:
        StoreFailed: the file cannot be read or written.
    """
    known = _read(file)
    name = service.lower()
    try:
        if name in known:
            return from_keys(known[name], rights)
    except ValueError:  # it knows the text, which holds keys
        pass
    else:
        policies = new_policies(rights)
        _write(file, {**known, name: to_keys(policies)})
        return policies
    raise _damaged(file)


def connection_string(host: str, port: int | None, policies: Iterable[Policy], name: str) -> str:
    """Return the connection string of a policy, with this machine as the service's host.

    Args:
        host: that the service listens on.
        port: 443 is left out: some SDKs take none.
        policies: of the service.
        name: of the policy.

    Raises:
        UsageError: there is no policy of this name.
    """
    found = {policy.name: policy for policy in policies}
    if name not in found:
        raise UsageError(f"policy {name!a}; allowed: {', '.join(found)}")
    host = EVERYWHERE.get(host, host)
    host = f"[{host}]" if ":" in host else host
    place = host if port == 443 else f"{host}:{port}"
    key = base64.b64encode(found[name].keys[0]).decode()
    return f"HostName={place};SharedAccessKeyName={name};SharedAccessKey={key}"


def _damaged(file: Path) -> StoreDamaged:
    return StoreDamaged(
        f"the policies cannot be read: {file}", hint="remove the file: new keys are made then"
    )


def _read(file: Path) -> dict[str, KnownKeys]:
    try:
        known = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise store_failed(f"the policies: {file}", error) from error
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise _damaged(file)
    return known


def _are_good(known: object, rights: Rights) -> bool:
    try:
        return (
            isinstance(known, Mapping)
            and set(known) == set(rights)
            and all(
                len(base64.b64decode(key, validate=True)) >= 16
                for keys in known.values()
                for key in keys
            )
            and all(known.values())
        )
    except (ValueError, TypeError, AttributeError):
        return False


def _write(file: Path, known: Mapping[str, KnownKeys]) -> None:
    part = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w") as new:
            json.dump(known, new)
        part.replace(file)
    except OSError as error:
        raise store_failed(f"the policies: {file}", error) from error
