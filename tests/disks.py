"""File systems of a test's own, so small that they fill up."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .conftest import peer_missing


@contextmanager
def small_disk(folder: Path, size: str = "1m", owner: int = 0) -> Iterator[Path]:
    """Mount a file system of this size, which a user owns."""
    if os.geteuid() != 0:
        peer_missing("only root can mount a small file system")
    folder.mkdir()
    options = f"size={size},mode=0755,uid={owner},gid={owner}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        peer_missing("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk to its last byte; return the file whose removal empties it."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler
