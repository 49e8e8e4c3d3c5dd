"""Text from elsewhere, made fit to stand in an error, a log or a terminal."""

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
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def short_line(text: str) -> str:
    """Return a sentence from elsewhere, unquoted: one line, blanks joined, shortened."""
    return _shortened(one_line(" ".join(text.split())))


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}..."
