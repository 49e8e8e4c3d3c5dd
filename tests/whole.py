"""Files that are written whole or not at all: the records of what ran."""

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file; who is interrupted leaves the one that was there before."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)
