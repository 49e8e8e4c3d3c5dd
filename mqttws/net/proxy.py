"""The choice of a proxy for a server, and of the login.

Knows proxy URLs and the environment's variables. Does not know what is said to a proxy
(``tunnel``). Whatever shows a proxy shows it without its login.
"""

import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Self
from urllib.parse import SplitResult, unquote

from ..errors import UsageError
from ..options import LOGIN, PROXY
from ..text import make_secret
from .no_proxy import is_exempt
from .proxy_url import address_of, split, unusable
from .tls import Tls

ENVIRONMENT: Final = "environment"
"""The choice that leaves it to the environment's variables."""

OWN_VARIABLE = "MQTTWS_PROXY"
"""This package's own variable: a proxy's URL with a login, out of sight of other programs."""

VARIABLES: dict[str, tuple[str, ...]] = {
    "wss": ("wss_proxy", "https_proxy", "all_proxy"),
    "mqtts": ("mqtts_proxy", "https_proxy", "all_proxy"),
    "ws": ("ws_proxy", "http_proxy", "all_proxy"),
    "mqtt": ("mqtt_proxy", "all_proxy"),
}
"""Which variables count for a URL's scheme, the first that is set wins; upper case counts too."""

_NAMES = {
    scheme: tuple(
        name
        for variable in (OWN_VARIABLE, *variables)
        for name in dict.fromkeys((variable, variable.upper()))
    )
    for scheme, variables in VARIABLES.items()
}
"""The same with the variable of our own, as they are spelled."""

MAX_LOGIN = 255
"""Bytes of a SOCKS5 user name or password (RFC 1929 section 2)."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and password for a proxy; neither is ever shown or pickled."""

    username: str = field(repr=False)
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        LOGIN.check({"username": self.username, "password": self.password})
        make_secret(self, "username", "password")

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @property
    def pair(self) -> bytes:
        """User name and password as Basic sends them (RFC 7617 section 2), before base64."""
        return f"{self.username}:{self.password}".encode()

    @property
    def secrets(self) -> list[str]:
        """The texts that no message may repeat: the pair, plain and in base64, and the password."""
        return [self.pair.decode(errors="replace"), b64encode(self.pair).decode(), self.password]


@dataclass(frozen=True, slots=True)
class Challenge:
    """A proxy's demand for a login, as a hook sees it.

    Attributes:
        proxy: the proxy's URL, without a login.
        status: 407; some proxies say 401.
        offers: the ``Proxy-Authenticate`` headers, such as ``Negotiate`` or ``NTLM TlRMTVNT…``.
        target: ``host:port`` that CONNECT asks for; Digest needs it.
        attempt: 1 for the first demand of a dial, 2 for the answer to our answer, and so on.
        memory: kept from one demand of a dial to the next, for whatever the hook wants to know.
    """

    proxy: str
    status: int
    offers: tuple[str, ...]
    target: str
    attempt: int
    memory: dict[str, Any] = field(repr=False)


OnChallenge = Callable[[Challenge], str | None]
"""Returns the ``Proxy-Authorization`` header that answers a challenge, or None to give up."""

AskLogin = Callable[[str], Login | tuple[str, str] | None]
"""Told a proxy's URL; returns the login for it, or None for none."""


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """A proxy and its login.

    With a login in its URL it cannot be pickled or made a dict of.

    Attributes:
        url: ``http://``, ``https://``, ``socks5://``, ``socks5h://`` or ``socks4a://``, with a
            login or without; ``environment`` for what the environment says; ``none`` or None for
            no proxy at all.
        login: asked for a login where the URL has none. It is called before anything is sent, in a
            thread of its own, as ``on_challenge`` is: it may take its time.
        on_challenge: answers each 407 of an HTTP proxy, for Negotiate, NTLM, Digest and others.
        tls: whom to trust as an ``https://`` proxy; None for whom the server's TLS trusts, without
            its client certificate.
    """

    url: str | None = field(default=ENVIRONMENT, repr=False)
    login: AskLogin | None = field(default=None, repr=False)
    on_challenge: OnChallenge | None = None
    tls: Tls = None

    def __post_init__(self) -> None:
        PROXY.check({one.name: getattr(self, one.name) for one in fields(self)})
        if isinstance(self.url, str) and "@" in self.url:  # a login, or what was meant to be one
            make_secret(self, "url")

    def __deepcopy__(self, memo: object) -> Self:
        return self


ProxyChoice = ProxyConfig | str | None
"""How a client may say which proxy it uses: a URL, ``environment``, ``none`` or None."""

_FROM_ENVIRONMENT = ProxyConfig()


def _config_of(choice: ProxyChoice) -> ProxyConfig:
    if isinstance(choice, ProxyConfig):
        return choice
    return _FROM_ENVIRONMENT if choice == ENVIRONMENT else ProxyConfig(choice)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that was chosen.

    Attributes:
        scheme: ``http``, ``https``, ``socks5``, ``socks5h`` or ``socks4a``.
        host: name or address, without brackets.
        port: TCP port.
        source: where it was found: ``argument`` or a variable's name.
        login: None for none.
        on_challenge: answers an HTTP proxy's 407; None for no answer.
        tls: whom to trust as an ``https`` proxy; None for whom the server's TLS trusts.
    """

    scheme: str
    host: str
    port: int
    source: str
    login: Login | None = None
    on_challenge: OnChallenge | None = field(default=None, repr=False)
    tls: Tls = field(default=None, repr=False)

    @property
    def resolves_here(self) -> bool:
        """Whether the proxy is given an address and not a name."""
        return self.scheme == "socks5"

    @property
    def url(self) -> str:
        """The URL without a login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        return self.url


def choose_proxy(
    choice: ProxyChoice,
    scheme: str,
    host: str,
    port: int,
    environ: Mapping[str, str] | None = None,
) -> Proxy | None:
    """Return the proxy on the way to a server, or None for none.

    An argument counts before ``MQTTWS_PROXY``, which counts before the other variables; what
    ``no_proxy`` names, and this machine itself, is reached without the environment's proxy.

    Args:
        choice: what the caller said.
        scheme: of the server's URL: ``wss``, ``ws``, ``mqtts`` or ``mqtt``.
        host: of the server.
        port: of the server.
        environ: the variables; None for the process's own.

    Raises:
        UsageError: a proxy's URL cannot be used; the message does not show it.
    """
    environ = os.environ if environ is None else environ
    config = _config_of(choice)
    if config.url is None or config.url.lower() == "none":
        return None
    if is_environment(config.url):
        source, url = _from_environment(scheme, environ)
        if url is None or url.lower() == "none" or is_exempt(host, port, environ):
            return None
    else:
        source, url = "argument", config.url
    parts = split(url, source)
    login = _login(parts, source) or _own_login(parts, environ)
    proxy = Proxy(*address_of(parts), source, login, config.on_challenge, config.tls)
    return proxy if login or config.login is None else _asked(proxy, config.login)


def choose_proxy_unasked(
    choice: ProxyChoice,
    scheme: str,
    host: str,
    port: int,
    environ: Mapping[str, str] | None = None,
) -> Proxy | None:
    """Return the proxy that ``choose_proxy`` returns, without asking the caller for its login.

    For a look at the settings: the caller's function may take its time, or ask a person.

    Raises:
        UsageError: a proxy's URL cannot be used; the message does not show it.
    """
    config = _config_of(choice)
    return choose_proxy(replace(config, login=None), scheme, host, port, environ)


def is_environment(url: str | None) -> bool:
    """Whether a proxy's URL is the word that leaves the choice to the environment."""
    return url is not None and url.lower() == ENVIRONMENT


def asks_for_login(choice: ProxyChoice) -> bool:
    """Whether a login is asked for, where the proxy's URL has none."""
    return isinstance(choice, ProxyConfig) and choice.login is not None


def _from_environment(scheme: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the first variable that is set, and its value; ``("", None)`` if none is."""
    for name in _NAMES[scheme]:
        # A web server may hand a visitor's "Proxy:" header on as HTTP_PROXY (CVE-2016-5385).
        if name == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
            continue
        if url := environ.get(name):
            return name, url
    return "", None


def unused_variables(scheme: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield variables that name a proxy and do not count for a scheme, such as ``http_proxy``."""
    for name in ("http_proxy", "HTTP_PROXY"):
        if environ.get(name) and "http_proxy" not in VARIABLES[scheme]:
            yield name


def describe_environment(
    scheme: str, host: str, port: int, environ: Mapping[str, str]
) -> Iterator[str]:
    """Yield the variables that count for a server, one in a line, without logins."""
    for name in _NAMES[scheme]:
        if environ.get(name):
            yield f"{name}={_without_login(environ[name])}"
    for name in unused_variables(scheme, environ):
        yield (
            f"{name}={_without_login(environ[name])} (not used: it counts only for http://; set"
            " https_proxy or MQTTWS_PROXY)"
        )
    for name in ("no_proxy", "NO_PROXY"):
        if environ.get(name):
            counts = "exempts" if is_exempt(host, port, environ) else "does not exempt"
            yield f"{name}={environ[name]} ({counts} this server)"


def _without_login(url: str) -> str:
    if url.lower() == "none":
        return url
    try:
        scheme, host, port = address_of(split(url, "variable"))
    except UsageError:
        return "(not shown: it cannot be used)"
    return Proxy(scheme, host, port, "variable").url


def _login(parts: SplitResult, source: str) -> Login | None:
    if parts.username is None:
        return None
    return _checked(
        Login(unquote(parts.username), unquote(parts.password or "")), parts.scheme, source
    )


def _own_login(parts: SplitResult, environ: Mapping[str, str]) -> Login | None:
    """Return the login that ``MQTTWS_PROXY`` has for this very proxy."""
    own = environ.get(OWN_VARIABLE)
    if not own or own.lower() == "none":
        return None
    found = split(own, OWN_VARIABLE)
    return _login(found, OWN_VARIABLE) if address_of(found) == address_of(parts) else None


def _asked(proxy: Proxy, ask: AskLogin) -> Proxy:
    told = ask(proxy.url)
    if told is None:
        return proxy
    if not isinstance(told, tuple | Login) or (isinstance(told, tuple) and len(told) != 2):
        raise UsageError(
            "the function of login= returned neither a Login, nor a (user, password) pair, nor None"
        )
    try:
        login = told if isinstance(told, Login) else Login(*told)
    except UsageError:
        raise UsageError(
            "the function of login= returned a user name or password that is not text"
        ) from None
    return Proxy(
        proxy.scheme,
        proxy.host,
        proxy.port,
        proxy.source,
        _checked(login, proxy.scheme, "login"),
        proxy.on_challenge,
        proxy.tls,
    )


def _checked(login: Login, scheme: str, source: str) -> Login:
    """Return a login that can be sent to a proxy of this kind.

    Raises:
        UsageError: it cannot; says why without showing it.
    """
    username, password = login.username.encode(), login.password.encode()
    if any(byte < 0x20 or byte == 0x7F for byte in username + password):
        raise unusable(source, "the login holds a control character")
    if scheme in ("http", "https") and b":" in username:  # RFC 7617 section 2
        raise unusable(source, "a user name for Basic may not hold a colon")
    if scheme.startswith("socks5") and not (
        1 <= len(username) <= MAX_LOGIN and 1 <= len(password) <= MAX_LOGIN
    ):
        raise unusable(source, f"SOCKS5 takes user names and passwords of 1 to {MAX_LOGIN} bytes")
    return login
