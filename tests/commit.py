"""The commit that is checked out, for records of what was measured or tried."""

import subprocess
from pathlib import Path


def short_commit() -> str:
    """Return the short hash of the commit; empty where there is no repository."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()
