"""Enrollment groups, found by what signs for their devices: a key, or a certificate.

Each group has rows for that in the table ``SIGNERS``, written by the commit that writes the group:
one that says that it has keys, or two for each of its certificates, by thumbprint and by subject.
A row may outlive what it says, where two clients change one group at once: what a group holds is
read from the group itself. Knows rows. Does not know how a device is judged, nor X.509's encoding.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence

from ..errors import StoreFailed
from .certificates import ChainReader
from .records import EnrollmentGroup
from .store import Check, Page, Row, Store, Write
from .tables import (
    CERTIFIED,
    GROUPS,
    GROUPS_MARK,
    INDEXED_MARK,
    MARKS,
    OLD_GROUPS_MARK,
    SIGNERS,
    Signer,
)

KEYS = "keys"
"""The name by which all groups with keys are found, together."""

_AT_ONCE = 500  # groups that are read together
_MAX_ATTEMPTS = 10  # to index some groups: each but the last found that one of them had moved
_INDEXED_AT_ONCE = 50  # each takes up to five locks of PostgreSQL, which has 6400 by default


def by_thumbprint(sha256: str) -> str:
    """Return the name by which the groups with a certificate are found."""
    return f"sha256 {sha256}"


def by_subject(subject: str) -> str:
    """Return the name by which the groups are found that have a certificate of that subject."""
    return f"subject {hashlib.sha256(subject.encode(errors='replace')).hexdigest()}"


class GroupIndex:
    """Reads and writes the rows by which groups are found.

    Args:
        store: open.
        chains: reads subjects; None where devices show every enrolled certificate.
    """

    def __init__(self, store: Store, chains: ChainReader | None = None) -> None:
        self._store = store
        self._chains = chains

    def changes(self, before: EnrollmentGroup | None, after: EnrollmentGroup | None) -> list[Write]:
        """Return what a change of a group writes along, and the mark that tells all front ends."""
        old, new = self._names(before), self._names(after)
        group = before or after
        assert group is not None, "a change has a side"
        key = group.enrollment_group_id.lower()
        gone = [_write(name, key, gone=True) for name in old if name not in new]
        return [*gone, *(_write(name, key) for name in new), Write(MARKS, GROUPS_MARK, 1)]

    async def signed(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the keys of the groups that are found by each name, in their order."""
        found: dict[str, list[str]] = {name: [] for name in names}
        for _, row in await self._store.find(SIGNERS, *names):
            signer: Signer = row.value
            found[signer.name].append(signer.group)
        return {name: tuple(groups) for name, groups in found.items()}

    async def rows(self, keys: Sequence[str]) -> dict[str, Row]:
        """Return the rows of groups by their keys."""
        found: dict[str, Row] = {}
        for at in range(0, len(keys), _AT_ONCE):
            some = keys[at : at + _AT_ONCE]
            loaded = await self._store.load(*((GROUPS, key) for key in some))
            found |= zip(some, loaded.rows, strict=True)
        return found

    async def any_certified(self) -> bool:
        """Whether there is a group whose devices are attested by certificates."""
        return bool((await self._store.page(GROUPS, limit=1, group=CERTIFIED)).items)

    async def complete(self) -> int:
        """Index what a version of this program has written that kept no index; return how much.

        Such a version leaves another mark. Several front ends may do this at the same time.
        """
        mark, indexed = (
            await self._store.load((MARKS, OLD_GROUPS_MARK), (MARKS, INDEXED_MARK))
        ).rows
        if mark.version == (indexed.value or 0):
            return 0
        count = 0
        async for page in self._pages():
            count += len(page.items)
        await self._store.commit(
            [Write(MARKS, INDEXED_MARK, mark.version), Write(MARKS, GROUPS_MARK, 1)]
        )
        return count

    async def _pages(self) -> AsyncIterator[Page]:
        """Yield pages of groups that are indexed."""
        after, more = "", True
        while more:
            for _ in range(_MAX_ATTEMPTS):
                page = await self._store.page(GROUPS, after, _INDEXED_AT_ONCE)
                if await self._index(page):
                    break
            else:
                raise StoreFailed("the enrollment groups change faster than they can be indexed")
            if page.items:
                after = page.items[-1][0]
            more = page.more
            yield page

    async def _index(self, page: Page) -> bool:
        """Write the rows of some groups that are not there; False where a group has moved."""
        writes = [_write(name, key) for key, row in page.items for name in self._names(row.value)]
        there = (await self._store.load(*((SIGNERS, write.key) for write in writes))).rows
        wanted = [write for write, row in zip(writes, there, strict=True) if not row.version]
        checks = [Check(GROUPS, key, row.version) for key, row in page.items]
        return not wanted or await self._store.commit(wanted, checks)

    def _names(self, group: EnrollmentGroup | None) -> dict[str, None]:
        """Return the names by which a group is found; none for no group."""
        if group is None:
            return {}
        names = [KEYS] if group.keys else []
        names += map(by_thumbprint, group.fingerprints)
        if self._chains is not None:
            subjects = map(self._chains.subject, group.certificates)
            names += [by_subject(subject) for subject in subjects if subject is not None]
        return dict.fromkeys(names)


def _write(name: str, group: str, *, gone: bool = False) -> Write:
    return Write(SIGNERS, f"{name}\n{group}", None if gone else Signer(name, group))
