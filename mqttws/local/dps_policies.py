"""The shared access policies of a local DPS's service API.

Knows their names and rights, and where their keys are kept: in the state folder, and in the
records, by which all front ends of one service have the same ones.
"""

import json
from pathlib import Path

from ..dps.store import Store, Table, Write
from ..errors import StoreDamaged
from ..hub.service.access import Policy
from .policies import KnownKeys, from_keys, load_policies, to_keys

FILE = "dps-policies.json"
"""In the state folder."""

OWNER = "provisioningserviceowner"

_SINGLE = (
    "ServiceConfig",
    "EnrollmentRead",
    "EnrollmentWrite",
    "RegistrationStatusRead",
    "RegistrationStatusWrite",
)

RIGHTS = {OWNER: frozenset(_SINGLE)} | {right: frozenset((right,)) for right in _SINGLE}
"""The rights of each policy: the cloud's first one has them all (azure-docs
``how-to-control-access.md``); each of the others has the right of its name."""

_POLICIES: Table[KnownKeys] = Table("service policies", json.dumps, json.loads)


async def load_dps_policies(folder: Path, store: Store) -> list[Policy]:
    """Return the policies: those of the records; else those of the folder, kept in the records.

    Raises:
        StoreFailed: they cannot be read or written.
    """
    place = (_POLICIES, "")
    known = (await store.load(place)).rows[0].value
    if known is None:
        mine = load_policies(folder / FILE, "dps", RIGHTS)
        if await store.commit([Write(*place, to_keys(mine), 0)]):
            return mine
        known = (await store.load(place)).rows[0].value
    try:
        return from_keys(known, RIGHTS)
    except ValueError:
        pass
    raise StoreDamaged("the service's policies in the records cannot be read")
