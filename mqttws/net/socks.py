"""SOCKS5 (RFC 1928) and SOCKS4a as objects that do no I/O.

No message and no fact that comes out of here holds a login.
"""

import ipaddress
from collections.abc import Callable

from ..errors import ProxyRefused
from ..hops import Cause, Party
from .proxy import Proxy


class _SocksConnect:
    """The common part of both versions of SOCKS: fixed messages, one after the other."""

    asks = False
    reconnect = False
    refused = False

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
        """The request in words, for people."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"CONNECT {host}:{self._port} through {self._proxy}"

    def restart(self) -> None:
        """Handle a new connection; SOCKS never asks for one."""

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
            raise self._refused("unexpected data after the proxy's response")

    def receive_eof(self) -> None:
        """Handle the proxy's close.

        Raises:
            ProxyRefused: always; SOCKS has nothing that may end so.
        """
        raise self._refused(
            "the proxy closed the connection without an answer",
            cause=Cause.CUT_OFF,
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

    def _refused(
        self,
        reason: str,
        hint: str = "",
        party: Party | None = None,
        *,
        status: int = 0,
        cause: Cause = Cause.NOT_A_PROXY,
    ) -> ProxyRefused:
        return ProxyRefused(
            f"proxy: {self.request}: {reason}",
            status=status,
            cause=cause,
            party=party,
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
            raise self._refused("the answer is not SOCKS5", *_foreign(version))
        if method == 2 and self._proxy.login is not None:
            username = self._proxy.login.username.encode()
            password = self._proxy.login.password.encode()
            self._outbox += b"".join(
                [b"\x01", bytes([len(username)]), username, bytes([len(password)]), password]
            )
            self._next = self._on_login
        elif method == 0:
            self._ask()
        else:
            raise self._login_refused(
                f"the proxy accepts none of the offered authentication methods ({method:#x})"
            )
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
        self._outbox += (
            b"\x05\x01\x00" + _socks5_address(self._host) + self._port.to_bytes(2, "big")
        )
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
        reason, hint, cause = _SOCKS5_REPLIES.get(code, _UNKNOWN_REPLY)
        self.facts["status"] = f"{code} {reason}"
        raise self._refused(f"reply {code}: {reason}", status=code, hint=hint, cause=cause)

    def _login_refused(self, reason: str) -> ProxyRefused:
        self.facts["status"] = reason
        if self._proxy.login is None:
            cause = Cause.PROXY_LOGIN_MISSING
            hint = (
                "the proxy wants a login: write it into the URL (socks5h://user:password@host:port)"
                " in the variable MQTTWS_PROXY, or in a file (--proxy-file FILE)"
            )
        else:
            cause = Cause.PROXY_LOGIN_REFUSED
            hint = "the proxy does not accept this login: check user name and password"
        error = self._refused(reason, status=0xFF, hint=hint, cause=cause)
        error.challenge = ("username/password",)
        return error


def _socks5_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        return b"\x03" + bytes([len(name)]) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


def _foreign(version: int) -> tuple[str, Party | None]:
    """Return hint and party for an answer of another protocol: a known one, the URL must name."""
    if version == ord("H"):
        return "it speaks HTTP: write the proxy's URL with http://", Party.HOST
    if version in (0, 4):
        return "it speaks SOCKS4: write the proxy's URL with socks4a://", Party.HOST
    return "check that this host and port are a SOCKS5 proxy", None


_SERVER_BEHIND = (
    "the proxy cannot reach the server: check the server's name and port; if they are right, a"
    " firewall behind the proxy is shut, or the server is down"
)

_UNKNOWN_REPLY = ("an unknown reply", "see the proxy's log", Cause.NOT_A_PROXY)

UNREACHABLE_REPLIES = frozenset({1, 3, 4, 5, 6, 8})
"""SOCKS5 replies after which another address of the same server may do."""

_SOCKS5_REPLIES = {
    1: ("general failure", _SERVER_BEHIND, Cause.PROXY_CANNOT_REACH),
    2: (
        "not allowed by the rules",
        "the proxy forbids this host or port: ask the proxy's team to allow them",
        Cause.PROXY_FORBIDS,
    ),
    3: ("network unreachable", _SERVER_BEHIND, Cause.PROXY_CANNOT_REACH),
    4: ("host unreachable", _SERVER_BEHIND, Cause.PROXY_CANNOT_REACH),
    5: ("connection refused", _SERVER_BEHIND, Cause.PROXY_CANNOT_REACH),
    6: ("time to live expired", _SERVER_BEHIND, Cause.PROXY_CANNOT_REACH),
    7: (
        "command not supported",
        "the proxy does not do CONNECT: see its configuration",
        Cause.NOT_A_PROXY,
    ),
    8: (
        "address type not supported",
        "the proxy takes no names, or no IPv6: try socks5://",
        Cause.NOT_A_PROXY,
    ),
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
            known = _foreign(version) if version == ord("H") else ()
            raise self._refused("the answer is not SOCKS4", *known)
        reason, hint, cause = _SOCKS4_REPLIES.get(code, _UNKNOWN_REPLY)
        self.facts["status"] = f"{code} {reason}"
        if code != 90:
            raise self._refused(f"reply {code}: {reason}", status=code, hint=hint, cause=cause)
        self.done = True
        return False


_SOCKS4_REPLIES = {
    90: ("granted", "", Cause.UNKNOWN),
    91: (
        "rejected or failed",
        "the proxy forbids this host or port, or cannot reach it: ask the proxy's team",
        Cause.PROXY_FORBIDS,
    ),
    92: (
        "no identd here",
        "the proxy wants an identd on this machine: use SOCKS5",
        Cause.PROXY_LOGIN_SCHEME,
    ),
    93: (
        "identd names another user",
        "the proxy's and this machine's user differ: use SOCKS5",
        Cause.PROXY_LOGIN_SCHEME,
    ),
}
