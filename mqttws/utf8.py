"""Text as UTF-8: on the wire, and percent-encoded in a topic, a token or a path (RFC 3986).

A ``str`` may hold half of a surrogate pair, which has no UTF-8: JSON may bring one, and so does a
byte of a command line that is no text.
"""

from urllib.parse import quote

from .errors import UsageError


def utf8(text: str, what: str) -> bytes:
    """Return the bytes of a text.

    Args:
        text: any.
        what: it is called in the error, which does not show it: it may be a secret.

    Raises:
        UsageError: it has none.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:  # not chained: it holds the text
        pass
    raise UsageError(f"{what}: text with a lone surrogate has no UTF-8")


def percent_encoded(text: str, what: str) -> str:
    """Return a text in which all but letters, digits and ``_.-~`` is percent-encoded.

    Args:
        text: any.
        what: it is called in the error, which does not show it.

    Raises:
        UsageError: it has no UTF-8.
    """
    return quote(utf8(text, what), safe="")
