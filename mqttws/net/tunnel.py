"""What is said to a proxy: HTTP CONNECT, SOCKS5 and SOCKS4a as objects that do no I/O.

Bytes in, bytes out, until the proxy has let us through or ``ProxyRefused`` is raised. One object
serves one dial; ``HttpConnect`` may ask for a new connection in its course, because a proxy may
close after its 407. No message and no fact that comes out of here holds a login.
"""

import ipaddress
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import ProxyRefused, UsageError
from .proxy import Challenge, Proxy

MAX_HEAD = 64 * 1024
"""Bytes of status line and headers that a proxy may answer with."""

MAX_BODY = 256 * 1024
"""Bytes of the page that a proxy may send with a 407 and still be answered in the same place."""

MAX_CHALLENGES = 10
"""Demands for a login that are answered in one dial; NTLM and Negotiate need two or three."""

USEFUL_HEADERS = ("server", "via", "proxy-agent", "x-squid-error", "date")
"""Headers of a proxy's answer that tell who it is, what went wrong, and what time it is there."""


class Tunnel(Protocol):
    """The talk with a proxy before it lets us through."""

    facts: dict[str, str]
    """What the proxy told, for people; never a login."""

    @property
    def request(self) -> str:
        """What is asked for, for people."""

    @property
    def done(self) -> bool:
        """Whether the bytes now go to and come from the server."""

    @property
    def reconnect(self) -> bool:
        """Whether the next bytes belong on a new connection to the proxy."""

    def restart(self) -> None:
        """Learn that there is a new connection."""

    def data_to_send(self) -> bytes:
        """Return what is to be sent now."""

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the proxy; raises ``ProxyRefused``."""

    def receive_eof(self) -> None:
        """Learn that the proxy has closed; raises ``ProxyRefused`` unless that was to come."""


def tunnel_through(proxy: Proxy, host: str, port: int, address: str | None = None) -> Tunnel:
    """Return the talk that leads through ``proxy`` to a server.

    Args:
        proxy: whom to talk to.
        host: the server's name or address.
        port: the server's port.
        address: the server's address, for a proxy that is not to resolve its name.

    Raises:
        UsageError: the host's name cannot be sent.
    """
    if proxy.scheme in ("http", "https"):
        return HttpConnect(proxy, _ascii_host(host), port)
    if proxy.scheme == "socks4a":
        return Socks4aConnect(proxy, _ascii_host(host), port)
    return Socks5Connect(proxy, _ascii_host(address or host), port)


def _ascii_host(host: str) -> str:
    try:
        raw = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise UsageError(f"{host!r} is not a host name") from None
    if not raw or len(raw) > 255 or not all("!" <= character <= "~" for character in raw):
        raise UsageError(f"{host[:100]!r} is not a host name")
    return raw


# HTTP CONNECT


@dataclass(frozen=True, slots=True)
class _Head:
    """Status line and headers of an HTTP answer; ``length`` is where its body begins."""

    version: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    length: int

    def values(self, name: str) -> list[str]:
        """Return the values of all headers of a name, which is in lower case."""
        return [value for key, value in self.headers if key == name]

    def tokens(self, *names: str) -> set[str]:
        """Return the comma-separated words of all headers of these names, in lower case."""
        return {
            word.strip().lower()
            for name in names
            for value in self.values(name)
            for word in value.split(",")
        }

    @property
    def persistent(self) -> bool:
        """Whether the proxy leaves the connection open (RFC 9112 section 9.3), so it says."""
        words = self.tokens("connection", "proxy-connection")
        if "close" in words:
            return False
        return self.version == "1.1" or "keep-alive" in words

    @property
    def chunked(self) -> bool:
        """Whether the body says chunk by chunk where it ends."""
        return "chunked" in self.tokens("transfer-encoding")

    @property
    def content_length(self) -> int | None:
        """The body's size in bytes, as announced."""
        given = self.values("content-length")
        return int(given[0]) if given and re.fullmatch(r"[0-9]{1,15}", given[0]) else None

    @property
    def reusable(self) -> bool:
        """Whether another request can follow the body: it is known where that ends."""
        return self.persistent and (self.chunked or self.content_length is not None)


class HttpConnect:
    """CONNECT (RFC 9110 section 9.3.6), with Basic at once or with whatever a hook answers.

    Args:
        proxy: whom it is said to; its login goes with the first request, which saves a round trip.
        host: the server's name or address, in ASCII.
        port: the server's port.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self.done = False
        self.reconnect = False
        self.facts: dict[str, str] = {}
        self._proxy = proxy
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._outbox = self._build_request(_basic(proxy))
        self._inbox = bytearray()
        self._challenges = 0
        self._memory: dict[str, Any] = {}

    @property
    def request(self) -> str:
        """What is asked for, for people."""
        return f"CONNECT {self._authority} through {self._proxy}"

    def restart(self) -> None:
        """Learn that there is a new connection."""
        self.reconnect = False
        self._inbox.clear()

    def data_to_send(self) -> bytes:
        """Return what is to be sent now."""
        data, self._outbox = self._outbox, b""
        return data

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the proxy.

        Raises:
            ProxyRefused: it does not let us through, or its answer is not HTTP.
        """
        self._inbox += data
        while not self.done and not self.reconnect:
            head = self._next_head()
            if head is None:
                return
            if 100 <= head.status < 200:  # RFC 9110 section 15.2: others may come before the answer
                del self._inbox[: head.length]
            elif 200 <= head.status < 300:
                self._let_through(head)
            elif not self._answer_challenge(head):
                return

    def receive_eof(self) -> None:
        """Learn that the proxy has closed.

        Raises:
            ProxyRefused: it did so without an answer.
        """
        if self.reconnect:
            return
        head = self._next_head() if self._inbox else None
        if head is None or not self._answer_challenge(head, ended=True):
            raise self._refused("the proxy closed the connection without an answer")

    # Inside

    def _build_request(self, authorization: str | None) -> bytes:
        lines = [
            f"CONNECT {self._authority} HTTP/1.1",
            f"Host: {self._authority}",
            "User-Agent: mqttws",
            "Proxy-Connection: keep-alive",  # what proxies of HTTP/1.0 want to hear before NTLM
        ]
        if authorization is not None:
            lines.append(f"Proxy-Authorization: {authorization}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _next_head(self) -> _Head | None:
        """Return the head of the next answer; None if it is not complete yet."""
        start = bytes(self._inbox[:5])
        if not b"HTTP/".startswith(start):
            raise self._refused("the answer is not HTTP", _foreign_hint(start))
        head = parse_head(self._inbox)
        if head is None and len(self._inbox) > MAX_HEAD:
            raise self._refused(f"the answer's head is longer than {MAX_HEAD} bytes")
        if head is not None and head.status == 0:
            raise self._refused("the answer is not HTTP/1.x")
        return head

    def _let_through(self, head: _Head) -> None:
        self._note(head)
        if len(self._inbox) > head.length:
            # The server speaks second in TLS and in MQTT: this can only be the proxy's own.
            raise self._refused("bytes that no server has sent come behind the proxy's answer")
        self.done = True

    def _note(self, head: _Head) -> None:
        self.facts = {"status": f"{head.status} {printable(head.reason)}".strip()}
        for name in USEFUL_HEADERS:
            if values := head.values(name):
                self.facts[name] = printable(values[0])

    def _answer_challenge(self, head: _Head, *, ended: bool = False) -> bool:
        """Queue the hook's answer to a 407; return False while its page is still coming.

        Where the connection has ``ended`` within the page, the answer goes over a new one.
        """
        self._note(head)
        offers = tuple(
            value
            for name in ("proxy-authenticate", "www-authenticate")
            for value in head.values(name)
        )
        challenge = tuple(map(printable, offers))
        hook = self._proxy.on_challenge
        if head.status not in (401, 407) or hook is None:
            raise self._refusal(head, challenge)
        body = _body_length(head, self._inbox) if head.reusable else None
        if head.reusable and body is None and len(self._inbox) <= MAX_BODY and not ended:
            return False
        self._challenges += 1
        if self._challenges > MAX_CHALLENGES:
            raise self._refusal(head, challenge)
        answer = hook(
            Challenge(
                self._proxy.url,
                head.status,
                offers,  # whole: a ticket may be long
                self._authority,
                self._challenges,
                self._memory,
            )
        )
        if answer is None:
            raise self._refusal(head, challenge)
        if not isinstance(answer, str) or not answer.isascii() or not answer.isprintable():
            raise UsageError("on_challenge returned what cannot stand in an HTTP header")
        self._outbox = self._build_request(answer)
        self.reconnect = body is None
        if body is not None:
            del self._inbox[: head.length + body]
        return True

    def _refusal(self, head: _Head, challenge: tuple[str, ...]) -> ProxyRefused:
        said = self.facts.get("x-squid-error", "")
        detail = f" ({said})" if said else ""
        if head.status in (401, 407):
            hint = _login_hint(self._proxy, challenge)
        else:
            hint = _HTTP_HINTS.get(head.status, "ask whoever runs the proxy what its answer means")
        return ProxyRefused(
            f"proxy: {self.request}: HTTP {self.facts['status']}{detail}",
            status=head.status,
            challenge=challenge,
            hint=hint,
        )

    def _refused(self, reason: str, hint: str = "") -> ProxyRefused:
        return ProxyRefused(
            f"proxy: {self.request}: {reason}",
            hint=hint or "check that this host and port are an HTTP proxy",
        )


def _basic(proxy: Proxy) -> str | None:
    if proxy.login is None:
        return None
    pair = f"{proxy.login.username}:{proxy.login.password}".encode()  # RFC 7617 section 2
    return "Basic " + b64encode(pair).decode("ascii")


_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9]{2})(?: ([^\r\n]*))?")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


def parse_head(data: bytes | bytearray) -> _Head | None:
    """Return the head that ``data`` begins with; None if it is not complete yet.

    Its status is 0 if the status line is not one of HTTP/1.x.
    """
    end = _HEAD_END.search(data)
    if end is None:
        return None
    first, *lines = bytes(data[: end.start()]).replace(b"\r\n", b"\n").split(b"\n")
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        return _Head("", 0, "", [], end.end())
    version, status, reason = found.groups()
    headers = []
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name.strip().lower(), value.strip()))
    return _Head(
        version.decode(), int(status), (reason or b"").decode("latin-1"), headers, end.end()
    )


def _body_length(head: _Head, data: bytearray) -> int | None:
    """Return the size of the answer's body once all of it is there; None until then."""
    length = _chunked_length(bytes(data[head.length :])) if head.chunked else head.content_length
    if length is None or len(data) < head.length + length:
        return None
    return length


_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]*\r\n")


def _chunked_length(data: bytes) -> int | None:
    """Return how long a chunked body is (RFC 9112 section 7.1); None if its end is not there."""
    position = 0
    while chunk := _CHUNK.match(data, position):
        size = int(chunk[1], 16)
        if size == 0:
            end = data.find(b"\r\n\r\n", chunk.end() - 2)  # trailers may stand between
            return end + 4 if end >= 0 else None
        position = chunk.end() + size + 2
    return None


def printable(text: str) -> str:
    """Return a peer's words so that they can be shown in one line of a terminal or a log."""
    return "".join(c if c.isprintable() else "?" for c in text[:500])


def _foreign_hint(start: bytes) -> str:
    if start[:1] in (b"\x15", b"\x16"):
        return "it speaks TLS: write the proxy's URL with https://"
    if start[:1] in (b"\x00", b"\x05"):
        return "it speaks SOCKS: write the proxy's URL with socks5h://"
    return "check that this host and port are an HTTP proxy"


def _login_hint(proxy: Proxy, challenge: tuple[str, ...]) -> str:
    schemes = {offer.partition(" ")[0].lower() for offer in challenge}
    if schemes and "basic" not in schemes:
        names = ", ".join(offer.partition(" ")[0] for offer in challenge)
        return f"the proxy wants {names}: answer it with ProxyConfig(on_challenge=...)"
    if proxy.login is not None:
        return "the proxy does not accept this login: check user name and password"
    return (
        "the proxy wants a login: write it into the URL (http://user:password@host:port) in the"
        " variable MQTTWS_PROXY, or give ProxyConfig(login=...)"
    )


_HTTP_HINTS = {
    400: "the proxy does not understand CONNECT: check that it is an HTTP proxy",
    403: "the proxy forbids this host or this port: ask whoever runs it to allow them",
    404: "this is a web server and not a proxy: check the proxy's host and port",
    405: "the proxy does not do CONNECT: check that this is an HTTP proxy",
    500: "the proxy cannot reach the server: check the server's name and port",
    501: "the proxy does not do CONNECT: check that this is an HTTP proxy",
    502: "the proxy cannot reach the server: check the server's name and port",
    503: "the proxy cannot reach the server: check the server's name and port",
    504: "the proxy gets no answer from the server: a firewall behind it, or the server is down",
}


# SOCKS


class _SocksConnect:
    """What both versions of SOCKS share: fixed messages, one after the other."""

    reconnect = False

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self.done = False
        self.facts: dict[str, str] = {}
        self._proxy = proxy
        self._host = host
        self._port = port
        self._inbox = bytearray()
        self._outbox = b""
        self._next: Callable[[], bool] = self._unreachable

    @property
    def request(self) -> str:
        """What is asked for, for people."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"CONNECT {host}:{self._port} through {self._proxy}"

    def restart(self) -> None:
        """Learn that there is a new connection; SOCKS never asks for one."""

    def data_to_send(self) -> bytes:
        """Return what is to be sent now."""
        data, self._outbox = self._outbox, b""
        return data

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the proxy.

        Raises:
            ProxyRefused: it does not let us through, or its answer is not SOCKS.
        """
        self._inbox += data
        while not self.done and self._next():
            pass
        if self.done and self._inbox:
            raise self._refused("bytes that no server has sent come behind the proxy's answer")

    def receive_eof(self) -> None:
        """Learn that the proxy has closed.

        Raises:
            ProxyRefused: always; SOCKS has nothing that may end so.
        """
        raise self._refused(
            "the proxy closed the connection without an answer",
            hint="it may not allow this client, or not speak this version of SOCKS",
        )

    def _unreachable(self) -> bool:
        raise AssertionError("the constructor says what comes first")

    def _take(self, count: int) -> bytes | None:
        """Return the next bytes; None if they are not all there."""
        if len(self._inbox) < count:
            return None
        data = bytes(self._inbox[:count])
        del self._inbox[:count]
        return data

    def _refused(self, reason: str, *, status: int = 0, hint: str = "") -> ProxyRefused:
        return ProxyRefused(
            f"proxy: {self.request}: {reason}",
            status=status,
            hint=hint or "check that this host and port are a SOCKS proxy of this version",
        )


class Socks5Connect(_SocksConnect):
    """SOCKS5 (RFC 1928), without a login or with user name and password (RFC 1929).

    Args:
        proxy: whom it is said to.
        host: the server's address, or its name, which the proxy then resolves.
        port: the server's port.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        super().__init__(proxy, host, port)
        methods = b"\x00" if proxy.login is None else b"\x00\x02"
        self._outbox = bytes([5, len(methods)]) + methods
        self._next = self._on_method

    def _on_method(self) -> bool:
        message = self._take(2)
        if message is None:
            return False
        version, method = message
        if version != 5:
            raise self._refused("the answer is not SOCKS5", hint=_socks_hint(version))
        if method == 2 and self._proxy.login is not None:
            username = self._proxy.login.username.encode()
            password = self._proxy.login.password.encode()
            self._outbox = b"".join(
                [b"\x01", bytes([len(username)]), username, bytes([len(password)]), password]
            )
            self._next = self._on_login
        elif method == 0:
            self._ask()
        else:
            raise self._login_refused(f"none of the offered ways to log in suits it ({method:#x})")
        return True

    def _on_login(self) -> bool:
        message = self._take(2)
        if message is None:
            return False
        if message[1] != 0:
            raise self._login_refused(f"it refused the login (status {message[1]})")
        self._ask()
        return True

    def _ask(self) -> None:
        self._outbox = b"\x05\x01\x00" + _socks5_address(self._host) + self._port.to_bytes(2, "big")
        self._next = self._on_reply

    def _on_reply(self) -> bool:
        if len(self._inbox) < 2:
            return False
        version, code = self._inbox[:2]
        if version != 5:
            raise self._refused("the answer is not SOCKS5")
        self._judge(code)  # at once: some proxies close before the rest of a refusal
        if len(self._inbox) < 5:
            return False
        size = {1: 4, 3: 1 + self._inbox[4], 4: 16}.get(self._inbox[3])
        if size is None:
            raise self._refused("the answer is not SOCKS5")
        if self._take(4 + size + 2) is None:
            return False
        self.facts["status"] = "0 succeeded"
        self.done = True
        return False

    def _judge(self, code: int) -> None:
        if code == 0:
            return
        reason, hint = _SOCKS5_REPLIES.get(code, ("an unknown reply", "see the proxy's log"))
        self.facts["status"] = f"{code} {reason}"
        raise self._refused(f"reply {code}: {reason}", status=code, hint=hint)

    def _login_refused(self, reason: str) -> ProxyRefused:
        self.facts["status"] = reason
        if self._proxy.login is None:
            hint = (
                "the proxy wants a login: write it into the URL (socks5h://user:password@host:port)"
                " in the variable MQTTWS_PROXY, or give ProxyConfig(login=...)"
            )
        else:
            hint = "the proxy does not accept this login: check user name and password"
        error = self._refused(reason, status=0xFF, hint=hint)
        error.challenge = ("username/password",)
        return error


def _socks5_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        return b"\x03" + bytes([len(name)]) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


def _socks_hint(version: int) -> str:
    if version == ord("H"):
        return "it speaks HTTP: write the proxy's URL with http://"
    if version in (0, 4):
        return "it speaks SOCKS4: write the proxy's URL with socks4a://"
    return "check that this host and port are a SOCKS5 proxy"


_SERVER_BEHIND = "check the server's name and port, and whether a firewall behind the proxy is shut"

UNREACHABLE_REPLIES = frozenset({1, 3, 4, 5, 6, 8})
"""SOCKS5 replies after which another address of the same server may do."""

_SOCKS5_REPLIES = {
    1: ("general failure", _SERVER_BEHIND),
    2: ("not allowed by the rules", "the proxy forbids this host or port: ask whoever runs it"),
    3: ("network unreachable", _SERVER_BEHIND),
    4: ("host unreachable", _SERVER_BEHIND),
    5: ("connection refused", _SERVER_BEHIND),
    6: ("time to live expired", _SERVER_BEHIND),
    7: ("command not supported", "the proxy does not do CONNECT: see its configuration"),
    8: ("address type not supported", "the proxy takes no names, or no IPv6: try socks5://"),
}
"""RFC 1928 section 6, and what to do."""


class Socks4aConnect(_SocksConnect):
    """SOCKS4 with its extension 4A: the proxy resolves the name.

    Args:
        proxy: whom it is said to; of its login only the user name is sent.
        host: the server's name or address.
        port: the server's port.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        super().__init__(proxy, host, port)
        user = proxy.login.username.encode() if proxy.login is not None else b""
        try:
            address, name = ipaddress.IPv4Address(host).packed, b""
        except ValueError:
            address, name = b"\x00\x00\x00\x01", host.encode("ascii") + b"\x00"
        self._outbox = b"\x04\x01" + port.to_bytes(2, "big") + address + user + b"\x00" + name
        self._next = self._on_reply

    def _on_reply(self) -> bool:
        message = self._take(8)
        if message is None:
            return False
        version, code = message[0], message[1]
        if version != 0:
            hint = "it speaks HTTP: write the proxy's URL with http://" if version == 72 else ""
            raise self._refused("the answer is not SOCKS4", hint=hint)
        reason, hint = _SOCKS4_REPLIES.get(code, ("an unknown reply", "see the proxy's log"))
        self.facts["status"] = f"{code} {reason}"
        if code != 90:
            raise self._refused(f"reply {code}: {reason}", status=code, hint=hint)
        self.done = True
        return False


_SOCKS4_REPLIES = {
    90: ("granted", ""),
    91: ("rejected or failed", "the proxy forbids this host or port, or cannot reach it"),
    92: ("no identd here", "the proxy wants an identd on this machine: use SOCKS5"),
    93: ("identd names another user", "the proxy's and this machine's user differ: use SOCKS5"),
}
