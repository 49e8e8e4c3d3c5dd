"""HTTP CONNECT (RFC 9110 section 9.3.6) as an object that does no I/O.

No message and no fact that comes out of here holds a login.
"""

from base64 import b64encode
from typing import Any

from ..errors import ProxyRefused, UsageError
from ..hops import Cause
from .http_head import MAX_HEAD, Head, body_length, parse_head, printable
from .proxy import Challenge, Proxy, login_cause

MAX_BODY = 256 * 1024
"""Bytes of the page that a proxy may send with a 407 and still be answered in the same place."""

MAX_CHALLENGES = 10
"""Demands for a login that are answered in one dial; NTLM and Negotiate need two or three."""

USEFUL_HEADERS = ("server", "via", "proxy-agent", "x-squid-error", "date")
"""Headers of a proxy's answer that tell who it is, what went wrong, and what time it is there."""


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
            raise self._refused(
                "the proxy closed the connection without an answer", cause=Cause.CUT_OFF
            )

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

    def _next_head(self) -> Head | None:
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

    def _let_through(self, head: Head) -> None:
        self._note(head)
        if len(self._inbox) > head.length:
            # The server speaks second in TLS and in MQTT: this can only be the proxy's own.
            raise self._refused("bytes that no server has sent come behind the proxy's answer")
        self.done = True

    def _note(self, head: Head) -> None:
        self.facts = {"status": f"{head.status} {printable(head.reason)}".strip()}
        for name in USEFUL_HEADERS:
            if values := head.values(name):
                self.facts[name] = printable(values[0])

    def _answer_challenge(self, head: Head, *, ended: bool = False) -> bool:
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
        body = body_length(head, self._inbox) if head.reusable else None
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

    def _refusal(self, head: Head, challenge: tuple[str, ...]) -> ProxyRefused:
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
            cause=login_cause(self._proxy) if head.status in (401, 407) else None,
            hint=hint,
        )

    def _refused(
        self, reason: str, hint: str = "", cause: Cause = Cause.NOT_A_PROXY
    ) -> ProxyRefused:
        return ProxyRefused(
            f"proxy: {self.request}: {reason}",
            cause=cause,
            hint=hint or "check that this host and port are an HTTP proxy",
        )


def _basic(proxy: Proxy) -> str | None:
    if proxy.login is None:
        return None
    pair = f"{proxy.login.username}:{proxy.login.password}".encode()  # RFC 7617 section 2
    return "Basic " + b64encode(pair).decode("ascii")


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
