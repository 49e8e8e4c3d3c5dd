"""The store's protocol: rows by table and key, each with a version, changed only if nothing moved.

Knows that a row has a version and how many rows one decision reads. Does not know what the rows
mean: a ``Table`` says how its values are written as text. DPS and hub keep all in it; memory,
SQLite and PostgreSQL implement it (``local/stores``), behind one contract test.

A decision is taken like this, for DPS and hub alike:

>>> loaded = await store.load((TWINS, "my-device"))          # one statement
>>> twin = loaded.rows[0]
>>> changed = decide(twin.value, request, loaded.now)          # pure
>>> done = await store.commit([Write(TWINS, "my-device", changed, twin.version)])
>>> # False: another commit was faster, nothing has been written: load and decide again

A hub names its own tables, such as ``TWINS = Table("twin", json.dumps, json.loads)``. Values are
never changed once they have been written or loaded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

V = TypeVar("V")


def _nothing(value: Any) -> str:
    """Return no name."""
    return ""


def _untold(key: str) -> bool:
    """Return that no user of the store keeps a row."""
    return False


@dataclass(frozen=True, eq=False)
class Table(Generic[V]):
    """One kind of rows.

    Attributes:
        name: of the table, a word.
        encode: returns a value's text; must hold all of the value.
        decode: returns the value of a text; raises ValueError or UsageError for a damaged one.
        group: returns the name under which rows are listed together; empty for none.
        alias: returns a name by which ``find`` finds the row, among others perhaps; empty for none.
        kept: returns whether users of the store keep what they read in the row of a key: its
            changes are news to them.
    """

    name: str
    encode: Callable[[V], str]
    decode: Callable[[str], V]
    group: Callable[[V], str] = _nothing
    alias: Callable[[V], str] = _nothing
    kept: Callable[[str], bool] = _untold


class Row(NamedTuple):
    """A row as it was loaded.

    Attributes:
        version: another number after each write; 0 where there is no row.
        value: as its table decodes it; None where there is no row.
    """

    version: int
    value: Any


ABSENT = Row(0, None)


class Loaded(NamedTuple):
    """Rows of one moment.

    Attributes:
        rows: in the order in which they were asked for.
        now: Unix time in seconds, by the clock that all users of the store share.
    """

    rows: Sequence[Row]
    now: float


class Check(NamedTuple):
    """A row must still have this version, or a commit writes nothing."""

    table: Table[Any]
    key: str
    version: int


class Write(NamedTuple):
    """A row's new value.

    Attributes:
        table: of the row.
        key: of the row.
        value: None deletes the row.
        expected: the version that it must still have, 0 for no row; None for any.
    """

    table: Table[Any]
    key: str
    value: Any
    expected: int | None = None


class Page(NamedTuple):
    """Rows in the order of their keys.

    Attributes:
        items: keys and rows.
        more: whether there are rows behind the last one.
    """

    items: Sequence[tuple[str, Row]]
    more: bool


class Store(Protocol):
    """Keeps rows. Every call has a time limit, and may raise ``StoreFailed`` (``StoreFull`` where
    there is no room).

    Attributes:
        shared: whether other processes may change the rows.
        recheck: seconds between two looks at the rows that a user keeps; 0 where no one else
            changes them.
    """

    shared: bool
    recheck: float

    async def open(self) -> None:
        """Make the store ready, and bring its schema up to date.

        Raises:
            StoreFailed: it cannot be reached, holds something else, or a newer schema.
        """

    async def close(self) -> None:
        """Let the store go; what was committed stays."""

    async def load(self, *keys: tuple[Table[Any], str]) -> Loaded:
        """Return rows by their keys, all of one moment."""

    async def commit(self, writes: Sequence[Write], checks: Sequence[Check] = ()) -> bool:
        """Write all rows at once, durably; or nothing, and return False, if a version has moved.

        Also False where it cannot be known whether a lost commit took place: a caller that
        loads again finds out by what the row holds.
        """

    async def take(self, bucket: str, limit: int, seconds: float) -> int:
        """Count one event of a throttle and return 0; or the whole seconds to wait, uncounted.

        Args:
            bucket: events of one name are counted together.
            limit: events that are let through in ``seconds``.
            seconds: length of the window.
        """

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call ``heard`` with each news, until the store is closed: a hint, which may be lost.

        News is what any user announces, this one among them, and an empty text where a row that
        users keep may have changed, or where news may have been lost. Stores that cannot carry
        news never call it; their ``recheck`` is short.
        """

    async def announce(self, news: str) -> None:
        """Tell all users that listen something of at most 7000 bytes, never empty."""

    async def page(
        self, table: Table[Any], after: str = "", limit: int = 1000, group: str | None = None
    ) -> Page:
        """Return rows behind the key ``after``, in the order of keys; of one group if named."""

    async def find(self, table: Table[Any], *aliases: str) -> Sequence[tuple[str, Row]]:
        """Return the keys and the rows that have one of these aliases, in the order of keys."""
