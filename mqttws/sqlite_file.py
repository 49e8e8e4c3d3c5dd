"""An SQLite file that only its owner can read.

Every store that keeps rows in such a file opens it here. Does not know what is in it. Loaded only
when asked for: SQLite takes its time to load.
"""

import os
import sqlite3

MEMORY = ":memory:"
"""The path of a database without a file."""


def open_private(path: str, *, timeout: float) -> sqlite3.Connection:
    """Return a connection to a file, which is made if need be; for any thread, with autocommit.

    It may hold keys and payloads: never through a link, and for its owner alone from its first
    moment on, or from now on if it was there.

    Args:
        path: of the file; ``:memory:`` for none.
        timeout: seconds to wait while another process holds it.

    Raises:
        OSError: it cannot be made or opened.
        sqlite3.Error: SQLite cannot open it. A damaged file is found out at the first statement.
    """
    if path != MEMORY:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(path, flags, 0o600)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=timeout)
