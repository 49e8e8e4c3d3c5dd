"""The enrollment groups that may concern a device, read as they are wanted and kept for a while.

Kept is what was read since a group changed last. Knows which groups a device may be of. Does not
know how it is judged (``authentication``).
"""

from collections.abc import Iterable
from typing import NamedTuple

from .certificates import Chain
from .group_index import KEYS, GroupIndex, by_subject, by_thumbprint
from .records import DeviceRecord, EnrollmentGroup, Groups
from .store import Row

MAX_KEPT = 20_000
"""Names that are kept; all are dropped when there are more: most are of devices' certificates."""


class Wanted(NamedTuple):
    """The groups that one decision may need.

    Attributes:
        keyed: whether all those with keys, any of which may have signed a token.
        chain: what the device has shown; empty where it proves itself in another way.
        named: keys of groups that its record names.
    """

    keyed: bool
    chain: Chain
    named: tuple[str, ...]


class Found(NamedTuple):
    """The groups that a decision wanted.

    Attributes:
        groups: those that may let the device in.
        named: those that its record names, by their keys.
    """

    groups: Groups
    named: dict[str, EnrollmentGroup]


def named_groups(record: DeviceRecord) -> tuple[str, ...]:
    """Return the keys of the groups that a device's record names."""
    ids = [
        operation.enrollment_id
        for operation in record.operations
        if operation.enrollment_kind == "group"
    ]
    if record.registration is not None:
        ids.append(record.registration.enrollment_group_id)
    return tuple(group_id.lower() for group_id in ids if group_id)


class KnownGroups:
    """The groups that are known at one version of them all.

    Args:
        index: of the groups.
        version: of the mark that each change of a group moves; 0 where there has never been one.
    """

    def __init__(self, index: GroupIndex, version: int = 0) -> None:
        self.version: int = version
        self._index = index
        self._keyed: Groups | None = None
        self._any_certified: bool | None = None
        self._signed: dict[str, tuple[str, ...]] = {}
        self._rows: dict[str, Row] = {}
        self._certified: dict[tuple[str, ...], Groups] = {}

    def find(self, wanted: Wanted) -> Found | None:
        """Return the groups; None where some must be read first."""
        if not self.version:
            return Found(Groups(), {})
        groups: Groups | None = Groups(self.version)
        if wanted.keyed:
            groups = self._keyed
        elif wanted.chain:
            signing = self._signing(wanted.chain)
            if signing is None or self._any_certified is None:
                return None
            if not self._rows.keys() >= set(signing):
                return None
            groups = self._of_certificates(signing)
        if groups is None:
            return None
        named = {key: self._named(key, groups) for key in wanted.named}
        if None in named.values():
            return None
        there = {key: row.value for key, row in named.items() if row is not None and row.version}
        return Found(groups, there)

    async def read(self, wanted: Wanted) -> None:
        """Read what is missing. It is of this version only if that is found again afterwards."""
        if len(self._signed) > MAX_KEPT:
            self._signed.clear()
            self._rows.clear()
            self._certified.clear()
        groups = Groups()
        if wanted.keyed:
            groups = self._keyed = self._keyed or await self._read_keyed()
        keys = set(wanted.named)
        if wanted.chain:
            if self._any_certified is None:
                self._any_certified = await self._index.any_certified()
            keys |= set(await self._read_signing(wanted.chain))
        missing = [key for key in sorted(keys) if self._named(key, groups) is None]
        if missing:
            self._rows |= await self._index.rows(missing)

    async def _read_keyed(self) -> Groups:
        keys = (await self._index.signed([KEYS]))[KEYS]
        rows = await self._index.rows(keys)
        return _groups(self.version, rows.items())

    async def _read_signing(self, chain: Chain) -> tuple[str, ...]:
        """Return the keys of the groups that a chain may lead to."""
        names = _names(chain)
        unknown = [name for name in names if name not in self._signed]
        if unknown:
            self._signed |= await self._index.signed(unknown)
        return tuple(key for name in names for key in self._signed.get(name, ()))

    def _signing(self, chain: Chain) -> tuple[str, ...] | None:
        """Return the keys of the groups that a chain may lead to; None where that is not known."""
        names = _names(chain)
        if not self._signed.keys() >= set(names):
            return None
        return tuple(key for name in names for key in self._signed[name])

    def _of_certificates(self, keys: tuple[str, ...]) -> Groups:
        """Return groups whose rows are known; the same object for the same groups."""
        made = self._certified.get(keys)
        if made is None:
            rows = ((key, self._rows[key]) for key in sorted(set(keys)))
            made = _groups(self.version, rows, any_certified=bool(self._any_certified))
            self._certified[keys] = made
        return made

    def _named(self, key: str, groups: Groups) -> Row | None:
        """Return the row of a group, from among some or from those kept; None if not known."""
        group = groups.find(key)
        return self._rows.get(key) if group is None else Row(groups.versions[key], group)


def _names(chain: Chain) -> list[str]:
    """Return the names of what may sign for a device: its chain's certificates, and the next one.

    Both are looked for at once: a name may lead to a group that does not hold it any more.
    """
    shown = [by_thumbprint(certificate.sha256) for certificate in chain]
    return [*shown, by_subject(chain[-1].issuer)]


def _groups(
    version: int, rows: Iterable[tuple[str, Row]], *, any_certified: bool = False
) -> Groups:
    there = [(key, row) for key, row in rows if row.version]
    versions = {key: row.version for key, row in there}
    return Groups(version, tuple(row.value for _, row in there), versions, any_certified)
