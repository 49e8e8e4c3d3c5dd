"""Tables in spec_notes.md that are written from the tests' own data, between marker comments."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

NOTES = Path(__file__).parent.parent / "spec_notes.md"


@dataclass(frozen=True)
class Section:
    """A part of the notes that is rendered.

    Attributes:
        begin: the marker before it.
        end: the marker behind it.
    """

    begin: str
    end: str

    def render(
        self, headings: Sequence[str], rows: Iterable[Sequence[str]], *, before: Sequence[str] = ()
    ) -> str:
        """Return a table as Markdown, behind the lines ``before`` it, markers included."""
        lines = [self.begin, "", *before, _row(headings), _row(["---"] * len(headings))]
        lines += (_row([cell.replace("|", "\\|") for cell in row]) for row in rows)
        return "\n".join([*lines, "", self.end])

    def found_in(self, notes: str) -> str:
        """Return what stands between the markers of the notes, markers included."""
        begin, end = notes.index(self.begin), notes.index(self.end)
        return notes[begin : end + len(self.end)]

    def write(self, text: str) -> None:
        """Put a rendered text in its place in the notes."""
        notes = NOTES.read_text(encoding="utf-8")
        NOTES.write_text(notes.replace(self.found_in(notes), text), encoding="utf-8")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
