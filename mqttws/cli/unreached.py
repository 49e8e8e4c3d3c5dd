"""The error for an HTTP service that a command did not reach: its hop, as on every other way.

Knows what ``urllib`` raises. Does not know which service was asked.
"""

import http.client
import socket
import ssl
import urllib.error

from ..errors import MqttwsError
from ..hops import Cause, Hop
from ..net.failures import translate
from ..text import short_line


def unreached(what: str, host: str, error: Exception, hint: str) -> MqttwsError:
    """Return the error; its exit code is the hop's where no connection was made.

    Args:
        what: the beginning of the sentence, such as ``no hub at 127.0.0.1``.
        host: the service's name or address.
        error: from ``urllib``: an ``OSError`` or an ``http.client.HTTPException``.
        hint: what starts the service.
    """
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if not isinstance(error, urllib.error.URLError) or not isinstance(reason, OSError):
        silent = isinstance(reason, TimeoutError)
        broken = isinstance(reason, http.client.HTTPException)
        said = "it sends no answer" if silent else str(reason) or type(reason).__name__
        cause = Cause.SILENT if silent else Cause.ANSWER_MALFORMED if broken else Cause.CLOSED
        return MqttwsError(f"{what}: {short_line(said)}", cause=cause, hint=hint)
    hop = Hop.TCP
    if isinstance(reason, socket.gaierror):
        hop = Hop.NAME
    elif isinstance(reason, ssl.SSLError):
        hop = Hop.TLS
    found = translate(reason, hop, host)
    return MqttwsError(
        f"{what}: {short_line(str(found))}",
        hop=hop,
        cause=found.cause,
        party=found.party,
        retryable=found.retryable,
        hint="; ".join(filter(None, (found.hint if hop is Hop.TLS else "", hint))),
    )
