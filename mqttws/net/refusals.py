"""Refusals over HTTP, judged: answers to a proxy's CONNECT and to the WebSocket upgrade.

Status, headers and the page's title decide cause and party; a public service is not blamed for an
answer that such a service does not give.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from ..errors import UpgradeRefused
from ..hops import Cause, Party
from ..text import one_line
from .http_page import parse_retry_after
from .issuers import names_inspector
from .names import is_public_service

_Verdict = tuple[Cause, Party, str]

_PORTAL_WORDS = ("login", "log in", "sign in", "sign-in", "portal", "welcome", "wifi", "wi-fi",
                 "hotspot", "accept the terms", "authenticat")  # fmt: skip
_BLOCK_WORDS = ("block", "denied", "policy", "forbidden by", "not allowed", "restricted", "filter")


def refused_upgrade(
    status: int, reason: str, facts: Mapping[str, str], host: str
) -> UpgradeRefused:
    """Return the error for an answer that is no switch to WebSocket.

    Args:
        status: of the answer.
        reason: its reason phrase.
        facts: ``server``, ``via``, ``location``, ``retry-after``, ``page``, as far as they came.
        host: the server's name.
    """
    cause, party, hint = _judge(status, facts, host)
    words = [f"upgrade: HTTP {status} {one_line(reason)}".rstrip()]
    if location := facts.get("location"):
        words.append(f"it points to {location} (not followed)")
    if page := facts.get("page"):
        words.append(f"the page says: {page}")
    error = UpgradeRefused(
        "; ".join(words),
        status=status,
        reason=one_line(reason),
        cause=cause,
        party=party,
        hint=hint,
    )
    if status in (429, 503):
        error.retry_after = parse_retry_after(facts.get("retry-after", ""), facts.get("date", ""))
        if error.retry_after is not None:
            error.hint += f"; it asks to be left alone for {error.retry_after:.0f} s (Retry-After)"
    return error


def refused_in_place(status: int, facts: Mapping[str, str], host: str) -> _Verdict | None:
    """Return cause, party and hint where a device on the way answers in the server's place.

    That is a login page, a block page or a transparent proxy; None for any other answer.
    """
    verdict = _judge(status, facts, host)
    return verdict if verdict[0] in IN_PLACE else None


IN_PLACE = frozenset({Cause.CAPTIVE_PORTAL, Cause.BLOCKED_BY_POLICY, Cause.PROXY_LOGIN_MISSING})
"""Causes of an answer over HTTP that another device gives in the server's place."""


def _judge(status: int, facts: Mapping[str, str], host: str) -> _Verdict:
    page = facts.get("page", "").lower()
    software = " ".join(facts.get(name, "") for name in ("server", "via", "proxy-agent"))
    if 300 <= status < 400:
        return _redirect(facts.get("location", ""), host)
    if status == 511 or (status == 200 and any(word in page for word in _PORTAL_WORDS)):
        return _portal("")
    if status == 451 or (
        status in (401, 403, 200, 503)
        and (names_inspector(f"{software} {page}") or any(word in page for word in _BLOCK_WORDS))
    ):
        who = f" ({software.strip()})" if software.strip() else ""
        return (
            Cause.BLOCKED_BY_POLICY,
            Party.NETWORK,
            f"a filter on the way{who} answers in the server's place and forbids the request: ask"
            f" the network team to allow WebSocket to {host}, and to exempt it from TLS inspection",
        )
    verdict = _BY_STATUS.get(status) or (
        Cause.UPGRADE_REFUSED,
        Party.SERVER,
        f"the answer {status} is none that a WebSocket server gives: check the path, and the"
        " service on this host and port",
    )
    if verdict[1] is Party.SERVER and status in (200, 401, 403) and is_public_service(host):
        return (
            verdict[0],
            Party.NETWORK,
            (
                f"{host} does not answer so itself: a proxy or filter on the way does: ask the"
                " network team to allow WebSocket to it, and to exempt it from TLS inspection"
            ),
        )
    return verdict


def _redirect(location: str, host: str) -> _Verdict:
    try:
        there = (urlsplit(location).hostname or "").lower() if "//" in location else ""
    except ValueError:
        return (
            Cause.UPGRADE_REFUSED,
            Party.SERVER,
            "the answer sends the client to an address that cannot be read: check the host and the"
            " path, and the service on this port",
        )
    if there and there != host.lower():
        return _portal(location)
    return (
        Cause.UPGRADE_REFUSED,
        Party.SERVER,
        "the server sends the client elsewhere on the same host, which is not followed: check the"
        " path",
    )


def _portal(location: str) -> _Verdict:
    where = f" ({location})" if location else ""
    return (
        Cause.CAPTIVE_PORTAL,
        Party.NETWORK,
        f"a login page of this network answers in the server's place{where}: open it in a browser"
        " on this network and log in, or have this device let through without (by its MAC address)",
    )


_BY_STATUS: dict[int, _Verdict] = {
    200: (
        Cause.UPGRADE_SWALLOWED,
        Party.NETWORK,
        "the answer ignores the request to upgrade: a reverse proxy or a middlebox swallows its"
        " headers Upgrade and Connection, or answers itself",
    ),
    400: (
        Cause.UPGRADE_REFUSED,
        Party.SERVER,
        "the path or the subprotocol is not what the server expects, or it is a reverse proxy that"
        " wants a client certificate",
    ),
    401: (
        Cause.NOT_AUTHORIZED,
        Party.SERVER,
        "the server, or a reverse proxy in front of it, wants a login over HTTP, which MQTT does"
        " not have: its operator must open this path without one",
    ),
    403: (
        Cause.UPGRADE_REFUSED,
        Party.SERVER,
        "the server, or a filter before it, forbids this: ask its operator (some gateways want an"
        " Origin header or a known client address)",
    ),
    404: (
        Cause.UPGRADE_REFUSED,
        Party.SERVER,
        "there is no WebSocket at this path: check the path",
    ),
    407: (
        Cause.PROXY_LOGIN_MISSING,
        Party.NETWORK,
        "a transparent proxy on the way wants a login: name it as the proxy, with the login"
        " (MQTTWS_PROXY=http://user:password@host:port), or ask the network team to let this host"
        " pass without",
    ),
    426: (
        Cause.UPGRADE_SWALLOWED,
        Party.NETWORK,
        "the server has not seen our request to upgrade: a reverse proxy or a middlebox swallows"
        " its headers Upgrade and Connection",
    ),
    429: (
        Cause.THROTTLED,
        Party.SERVER,
        "the server, or a gateway before it, throttles (429): too many requests from this address;"
        " try again later",
    ),
    500: (
        Cause.SERVER_UNAVAILABLE,
        Party.SERVER,
        "the server failed (500): its operator finds the reason in its log",
    ),
    502: (
        Cause.SERVER_UNAVAILABLE,
        Party.SERVER,
        "a reverse proxy in front of the server cannot reach it: tell its operator",
    ),
    503: (
        Cause.SERVER_UNAVAILABLE,
        Party.SERVER,
        "the server is overloaded or being maintained (503): try again later",
    ),
    504: (
        Cause.SERVER_UNAVAILABLE,
        Party.SERVER,
        "a reverse proxy in front of the server got no answer from it: tell its operator",
    ),
    505: (
        Cause.UPGRADE_REFUSED,
        Party.SERVER,
        "the server, or a reverse proxy in front of it, does not speak HTTP/1.1 (505), which"
        " WebSocket needs: its operator must switch it on (nginx: proxy_http_version 1.1)",
    ),
}


def judge_connect(status: int, facts: Mapping[str, str]) -> _Verdict:
    """Return cause, party and hint for a proxy's refusal of CONNECT other than for its login."""
    if 300 <= status < 400:
        where = facts.get("location", "")
        return (
            Cause.PROXY_FORBIDS,
            Party.PROXY,
            f"the proxy points to a page of its own ({where}) and does not connect: open it in a"
            " browser, and ask the proxy's team to allow this host",
        )
    known = _CONNECT_STATUS.get(status)
    if known is None:
        return Cause.PROXY_FORBIDS, Party.PROXY, "ask the proxy's team what its answer means"
    if facts.get("x-squid-error", "").startswith("ERR_DNS_FAIL"):
        return (
            Cause.PROXY_CANNOT_REACH,
            Party.PROXY,
            "the proxy cannot resolve the server's name: check the name; if it is right, the"
            " proxy's name server is at fault",
        )
    return known


_CANNOT_REACH = (
    Cause.PROXY_CANNOT_REACH,
    Party.SERVER,
    "the proxy cannot reach the server: check the server's name and port; if they are right, a"
    " firewall behind the proxy is shut, or the server is down",
)

_NO_CONNECT = (
    Cause.NOT_A_PROXY,
    Party.PROXY,
    "it does not do CONNECT: check that host and port are those of an HTTP proxy",
)

_CONNECT_STATUS: dict[int, _Verdict] = {
    400: (
        Cause.NOT_A_PROXY,
        Party.PROXY,
        "the proxy does not understand CONNECT: check that it is an HTTP proxy",
    ),
    403: (
        Cause.PROXY_FORBIDS,
        Party.PROXY,
        "the proxy forbids this host or this port: ask the proxy's team to allow them",
    ),
    404: (
        Cause.NOT_A_PROXY,
        Party.PROXY,
        "this is a web server and not a proxy: check the proxy's host and port",
    ),
    405: _NO_CONNECT,
    429: (
        Cause.THROTTLED,
        Party.PROXY,
        "the proxy throttles (429): too many requests from this address; try again later, and ask"
        " the proxy's team",
    ),
    451: (
        Cause.PROXY_FORBIDS,
        Party.PROXY,
        "the proxy blocks this host for legal reasons (451): ask the proxy's team",
    ),
    500: _CANNOT_REACH,
    501: _NO_CONNECT,
    502: _CANNOT_REACH,
    503: _CANNOT_REACH,
    504: (
        Cause.PROXY_CANNOT_REACH,
        Party.SERVER,
        "the proxy gets no answer from the server: a firewall behind it, or the server is down",
    ),
    511: (
        Cause.CAPTIVE_PORTAL,
        Party.NETWORK,
        "the network wants a login first (511): open a web page in a browser on this network",
    ),
}
