"""Text from elsewhere, made fit to stand in an error, a log or a terminal; and text that is not.

A password is ``SecretText`` or ``SecretBytes``: itself for those who use it, and nothing in a
``repr``, a pickle or ``dataclasses.asdict``.
"""

from typing import NoReturn, Self

SHOWN_LENGTH = 100
"""How many characters of a value from elsewhere an error or a log line shows."""


def shown(value: object) -> str:
    """Return a value from elsewhere for an error or a log: one line, quoted, ASCII, shortened."""
    try:
        text = ascii(value)
    except Exception:  # a number of thousands of digits, or an object that cannot be shown
        text = f"a {type(value).__name__} that cannot be shown"
    return _shortened(text)


def one_line(text: str) -> str:
    """Return text from elsewhere so that it can stand in one line of a log or an error.

    Control characters are written out: a peer must not forge lines, nor colour a terminal.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def short_line(text: str) -> str:
    """Return a sentence from elsewhere, unquoted: one line, blanks joined, shortened."""
    return _shortened(one_line(" ".join(text.split())))


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}..."


class _Secret:
    """Makes text or bytes that ``repr`` does not show, and ``pickle`` and ``asdict`` refuse."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> NoReturn:  # which is what asdict calls
        raise TypeError("a secret is not copied out of its object: a password or a key")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled: a password or a key")


class SecretText(_Secret, str):
    """A str that is shown, pickled and copied nowhere."""

    __slots__ = ()


class SecretBytes(_Secret, bytes):
    """Bytes that are shown, pickled and copied nowhere."""

    __slots__ = ()


def make_secret(instance: object, *names: str) -> None:
    """Turn attributes of a frozen object that are text or bytes into secrets."""
    for name in names:
        value = getattr(instance, name)
        if isinstance(value, str):
            object.__setattr__(instance, name, SecretText(value))
        elif isinstance(value, bytes):
            object.__setattr__(instance, name, SecretBytes(value))
