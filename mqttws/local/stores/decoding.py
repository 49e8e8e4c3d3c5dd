"""Rows' texts as values, each decoded once: what has the same version is the same."""

from typing import Any

from ...dps.store import Row, Table
from ...errors import StoreDamaged, UsageError

MAX_KEPT = 20_000
"""Decoded rows that are kept; all are dropped when there are more."""


class Decoder:
    """Decodes rows.

    Args:
        source: of the rows, for errors.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._kept: dict[tuple[str, str], Row] = {}

    def row(self, table: Table[Any], key: str, version: int, text: str) -> Row:
        """Return a row.

        Raises:
            StoreDamaged: the text cannot be decoded; it is not shown, it may hold a key.
        """
        place = (table.name, key)
        kept = self._kept.get(place)
        if kept is not None and kept.version == version:
            return kept
        try:
            row = Row(version, table.decode(text))
        except (UsageError, ValueError, KeyError, TypeError, RecursionError) as error:
            reason = str(error) if isinstance(error, UsageError) else type(error).__name__
        else:
            self.keep(table, key, row)
            return row
        raise StoreDamaged(
            f"a record cannot be read: {self._source}: {table.name} {key[:100]!r}: {reason}",
            hint="delete that record, or restore the records from a backup",
        )

    def keep(self, table: Table[Any], key: str, row: Row) -> None:
        """Keep a row whose text is known: one that has just been written need not be decoded."""
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[table.name, key] = row
