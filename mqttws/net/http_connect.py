"""HTTP CONNECT (RFC 9110 section 9.3.6) as an object that does no I/O.

No message and no fact that comes out of here holds a login.
"""

from base64 import b64encode
from typing import Any

from ..errors import ProxyRefused, UsageError
from ..hops import Cause, Party
from .http_head import MAX_HEAD, Head, body_length, parse_head, printable
from .http_page import is_page_read, masked, parse_retry_after, words_of_page
from .proxy import Challenge, Proxy
from .refusals import judge_connect

MAX_BODY = 256 * 1024
"""Bytes of the page that a proxy may send with a 407 and still be answered in the same place."""

MAX_CHALLENGES = 10
"""Demands for a login that are answered in one dial; NTLM and Negotiate need two or three."""

USEFUL_HEADERS = (
    "server",
    "via",
    "proxy-agent",
    "x-squid-error",
    "location",
    "retry-after",
    "date",
)
"""Headers of a proxy's answer that tell who it is, what went wrong, and what time it is there."""


class HttpConnect:
    """CONNECT (RFC 9110 section 9.3.6), with Basic at once or with a hook's answer to 407.

    Args:
        proxy: to be asked; its login goes with the first request, which saves a round trip.
        host: the server's name or address, in ASCII.
        port: the server's port.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self.done: bool = False
        self.reconnect: bool = False
        self.asks: bool = proxy.on_challenge is not None
        self.facts: dict[str, str] = {}
        self._proxy = proxy
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._outbox = self._build_request(_basic(proxy))
        self._inbox = bytearray()
        self._refusal_head: Head | None = None
        self._challenges = 0
        self._memory: dict[str, Any] = {}

    @property
    def request(self) -> str:
        """The request in words, for people."""
        return f"CONNECT {self._authority} through {self._proxy}"

    @property
    def refused(self) -> bool:
        """Whether the proxy has refused, and only the rest of its answer is still awaited."""
        return self._refusal_head is not None or self._begun_refusal() is not None

    def restart(self) -> None:
        """Handle a new connection."""
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
        """Handle the proxy's close.

        Raises:
            ProxyRefused: it did so without an answer.
        """
        if self.reconnect:
            return
        head = (self._next_head() or self._begun_refusal()) if self._inbox else None
        if head is None or not self._answer_challenge(head, ended=True):
            came = f" after {len(self._inbox)} bytes" if self._inbox else ""
            raise self._refused(
                f"the proxy closed the connection{came} without an answer",
                cause=Cause.CUT_OFF,
                hint="it may not serve this machine; else check that this host and port are an HTTP"
                " proxy",
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
            raise self._refused("the answer is not HTTP", *_foreign(start))
        head = parse_head(self._inbox)
        if head is None and len(self._inbox) > MAX_HEAD:
            raise self._refused(f"the answer's head is longer than {MAX_HEAD} bytes")
        if head is not None and head.status == 0:
            raise self._refused("the answer is not HTTP/1.x")
        return head

    def _begun_refusal(self) -> Head | None:
        """Return a refusal's head as far as it has come; None before its status line is whole.

        A proxy that falls silent or closes within its 407 has refused the login all the same.
        """
        end = self._inbox.rfind(b"\n") + 1
        head = parse_head(bytes(self._inbox[:end]) + b"\r\n") if end else None
        return head if head is not None and head.status >= 300 else None

    def _let_through(self, head: Head) -> None:
        self._note(head)
        if len(self._inbox) > head.length:
            # The server speaks second in TLS and in MQTT: this can only be the proxy's own.
            raise self._refused("unexpected data after the proxy's response")
        self.done = True

    def _note(self, head: Head) -> None:
        self.facts = {"status": self._clean(f"{head.status} {head.reason}").strip()}
        for name in USEFUL_HEADERS:
            if values := head.values(name):
                self.facts[name] = self._clean(values[0])

    def _clean(self, text: str) -> str:
        """Return a proxy's words without control characters, and without the login it repeats."""
        return printable(masked(text, self._secrets()))

    def _secrets(self) -> list[str]:
        return [] if self._proxy.login is None else self._proxy.login.secrets

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
        challenge = tuple(map(self._clean, offers))
        hook = self._proxy.on_challenge
        if head.status not in (401, 407) or hook is None:
            if head.status not in (401, 407) and not ended and not is_page_read(head, self._inbox):
                self._refusal_head = head
                return False
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
        words = [self.facts.get("x-squid-error", "")]
        if head.status in (401, 407):
            # A second demand in one dial follows an answer of the hook.
            cause, party, hint = judge_login(self._proxy, challenge, answered=self._challenges > 1)
        else:
            if page := words_of_page(head, self._inbox, self._secrets()):
                self.facts["page"] = page
                words.append(f"the page says: {page}")
            if location := self.facts.get("location"):
                words.append(f"it points to {location}")
            cause, party, hint = judge_connect(head.status, self.facts)
        detail = "; ".join(filter(None, words))
        error = ProxyRefused(
            f"proxy: {self.request}: HTTP {self.facts['status']}" + (f" ({detail})" * bool(detail)),
            status=head.status,
            challenge=challenge,
            cause=cause,
            party=party,
            hint=hint,
        )
        if head.status in (429, 503):
            error.retry_after = parse_retry_after(
                self.facts.get("retry-after", ""), self.facts.get("date", "")
            )
            if error.retry_after is not None:
                error.hint += f"; it asks to be left alone for {error.retry_after:.0f} s"
        return error

    def _refused(
        self,
        reason: str,
        hint: str = "",
        party: Party | None = None,
        cause: Cause = Cause.NOT_A_PROXY,
    ) -> ProxyRefused:
        return ProxyRefused(
            f"proxy: {self.request}: {reason}",
            cause=cause,
            party=party,
            hint=hint or "check that this host and port are an HTTP proxy",
        )


def _basic(proxy: Proxy) -> str | None:
    if proxy.login is None:
        return None
    return "Basic " + b64encode(proxy.login.pair).decode("ascii")


def _foreign(start: bytes) -> tuple[str, Party | None]:
    """Return hint and party for an answer of another protocol: a known one, the URL must name."""
    if start[:1] in (b"\x15", b"\x16"):
        return "it speaks TLS: write the proxy's URL with https://", Party.HOST
    if start[:1] in (b"\x00", b"\x05"):
        return "it speaks SOCKS: write the proxy's URL with socks5h://", Party.HOST
    return "check that this host and port are an HTTP proxy", None


def judge_login(
    proxy: Proxy, challenge: tuple[str, ...], *, answered: bool = False
) -> tuple[Cause, Party, str]:
    """Return cause, party and hint for a demand for a login (407; some proxies say 401).

    Args:
        proxy: the proxy.
        challenge: its offers.
        answered: whether ``on_challenge`` has answered an earlier demand.
    """
    if answered:
        return (
            Cause.PROXY_LOGIN_REFUSED,
            Party.HOST,
            "the proxy does not accept what on_challenge answers: check the account or the ticket;"
            " after a few wrong logins the account may be locked",
        )
    schemes = {offer.partition(" ")[0].lower() for offer in challenge}
    if schemes and "basic" not in schemes:
        names = ", ".join(dict.fromkeys(offer.partition(" ")[0] for offer in challenge))
        gateways = "cntlm or px" if "ntlm" in schemes else "px"
        return (
            Cause.PROXY_LOGIN_SCHEME,
            Party.PROXY,
            f"the proxy wants a login by {names}, and not by user name and password (Basic): run a"
            f" local gateway that logs in there ({gateways}) and name it as the proxy; or ask the"
            " proxy's team for an exception for this host, or for Basic over TLS",
        )
    if proxy.login is not None:
        return (
            Cause.PROXY_LOGIN_REFUSED,
            Party.HOST,
            "the proxy does not accept this login: check user name and password; after a few wrong"
            " ones the account may be locked",
        )
    return (
        Cause.PROXY_LOGIN_MISSING,
        Party.HOST,
        f"the proxy wants a login: write it into the URL ({proxy.scheme}://user:password@host:port)"
        " in the variable MQTTWS_PROXY, or in a file (--proxy-file FILE)",
    )
