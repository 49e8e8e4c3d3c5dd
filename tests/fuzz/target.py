"""What a fuzz target is, and what the targets share."""

from collections.abc import Callable
from dataclasses import dataclass

Check = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """Code that must stand any input.

    Attributes:
        invariant: what holds for every input, in one line.
        modules: the code whose branches count, dotted; a package stands for all in it.
        load: imports that code, and returns what is called with each input: it raises
            AssertionError, or whatever escapes, where the invariant does not hold.
        seeds: inputs to begin with, beside those in ``corpus``.
        fault: file, text and replacement: a fault that the target must find in a copy of the code.
        largest: bytes of an input at most.
        words: what inputs are made of, separated by blanks: the fuzzer puts them in.
    """

    invariant: str
    modules: tuple[str, ...]
    load: Callable[[], Check]
    seeds: tuple[bytes, ...]
    fault: tuple[str, str, str]
    largest: int = 256
    words: str = ""


def pieces(data: bytes) -> list[bytes]:
    """Return an input cut at up to three places that its own end names."""
    cuts = sorted(byte % (len(data) + 1) for byte in data[-3:])
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def text_of(data: bytes) -> str:
    """Return an input as text: any characters, lone surrogates too."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")
