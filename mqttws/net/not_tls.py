"""An answer that is not TLS where TLS was begun: who answers instead, by its first bytes.

A service of another kind, a web server without TLS, or a login or block page of the network.
"""

import ssl
from collections.abc import Sequence

from ..errors import MqttwsError, TlsFailed
from ..hops import Cause, Hop, Party
from ..text import one_line
from .alerts import ALERTS, judge_alert, plain_reason
from .failures import translate
from .http_head import parse_head
from .http_page import masked, opening, words_of_page
from .refusals import refused_in_place

_RECORDS = range(0x14, 0x18)
"""Types of a TLS record, its first byte (RFC 8446 section 5.1); the second one is 3."""

_ALERT = 0x15

_BANNERS: tuple[tuple[bytes, str], ...] = (
    (b"SSH-", "an SSH server"),
    (b"220", "a mail or FTP server"),
    (b"+OK", "a POP3 server"),
    (b"* OK", "an IMAP server"),
    (b"\x20\x02", "an MQTT server without TLS"),
    (b"\x05", "a SOCKS proxy"),
)


def is_tls(begun: bytes) -> bool:
    """Whether bytes can be the beginning of TLS; none can be."""
    return not begun or (begun[0] in _RECORDS and begun[1:2] in (b"", b"\x03"))


def alert_number(begun: bytes) -> int | None:
    """Return the number of the alert that a peer answered in clear; None where it is none."""
    if len(begun) >= 7 and begun[0] == _ALERT and begun[3:5] == b"\x00\x02":
        return begun[6]
    return None


def broken_off(
    error: ssl.SSLError, hop: Hop, host: str, begun: bytes, secrets: Sequence[str] = ()
) -> MqttwsError:
    """Return the error for a handshake that failed for another reason than the certificate.

    Args:
        error: OpenSSL's.
        hop: ``TLS`` or ``PROXY_TLS``.
        host: the name that was asked for.
        begun: the first bytes of the answer.
        secrets: of ours, which it may repeat: a proxy's login.
    """
    if not is_tls(begun):
        hidden = [secret.encode().decode("latin-1") for secret in secrets]
        return not_tls(masked(begun.decode("latin-1"), hidden).encode("latin-1"), host, hop)
    number = alert_number(begun)
    if number is not None and not error.reason:  # Python has no name for newer alerts
        reason = f"alert {ALERTS.get(number, f'number {number}')}"
        cause, hint = judge_alert(reason, hop)
        found = f"{hop.value}: {host}: {plain_reason(reason)}"
        return TlsFailed(found, hop=hop, cause=cause, hint=hint)
    return translate(error, hop, host)


def not_tls(begun: bytes, host: str, hop: Hop) -> TlsFailed:
    """Return the error for an answer that is not TLS.

    Args:
        begun: its first bytes.
        host: the name that was asked for.
        hop: ``TLS`` or ``PROXY_TLS``.
    """
    found = f"{hop.value}: {host}: the answer is not TLS, but"
    if begun.startswith(b"HTTP/"):
        return _http(found, begun, host, hop)
    kind = next((name for start, name in _BANNERS if begun.startswith(start)), "another service")
    sentence = f"{found} that of {kind}: it begins with {opening(begun)}"
    if hop is Hop.PROXY_TLS:
        hint = f"{kind} answers at the proxy's address: check host and port of the proxy's URL"
        return TlsFailed(sentence, hop=hop, cause=Cause.NOT_TLS, party=Party.HOST, hint=hint)
    return TlsFailed(
        sentence,
        hop=hop,
        cause=Cause.NOT_TLS,
        party=Party.SERVER,
        hint=f"{kind} answers on this port, and no MQTT service: check host and port (443 for"
        " WebSocket, 8883 for MQTT over TLS)",
    )


def _http(found: str, begun: bytes, host: str, hop: Hop) -> TlsFailed:
    """Judge a web server, or a page of the network, that answers without TLS."""
    head = parse_head(begun)
    facts: dict[str, str] = {}
    status = 0
    words = [one_line(begun.split(b"\n")[0][:80].decode("latin-1").strip())]
    if head is not None and head.status:
        status = head.status
        for name in ("server", "via", "location"):
            if values := head.values(name):
                facts[name] = one_line(values[0][:200])
                words.append(f"{name} {facts[name]}")
        if page := words_of_page(head, begun):
            facts["page"] = page
            words.append(f"the page says: {page}")
    sentence = f"{found} HTTP without TLS: {'; '.join(words)}"
    if hop is Hop.PROXY_TLS:
        return TlsFailed(
            sentence,
            hop=hop,
            cause=Cause.NOT_TLS,
            party=Party.HOST,
            hint="the proxy does not speak TLS on this port: write its URL with http://",
        )
    cause, party, hint = refused_in_place(status, facts, host) or (
        Cause.NOT_TLS,
        Party.SERVER,
        "a web server answers on this port and does not speak TLS: TLS is not switched on there, or"
        " it is the wrong port",
    )
    return TlsFailed(sentence, hop=hop, cause=cause, party=party, hint=hint)
