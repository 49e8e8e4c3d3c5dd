"""The proxy's part in a failure: needed and not set, set and not used, or in the way."""

import os
from collections.abc import Mapping

from ..errors import ConnectFailed, NameNotResolved, UsageError
from ..hops import Cause, Hop, Party
from .hops import NAME_A_PROXY
from .names import is_local
from .no_proxy import is_exempt
from .proxy import (
    Proxy,
    ProxyChoice,
    ProxyConfig,
    choose_proxy,
    is_environment,
    unused_variables,
)
from .target import Target

_BEFORE_A_PROXY = frozenset(
    {
        Cause.SILENT,
        Cause.REJECTED,
        Cause.NO_ROUTE,
        Cause.NAME_UNKNOWN,
        Cause.NAME_SERVER_FAILED,
        Cause.NO_IPV6,
    }
)
"""Causes on a direct way that a proxy, where the network has one, would remove."""


def explain_proxy(
    error: ConnectFailed,
    choice: ProxyChoice,
    chosen: Proxy | None,
    target: Target,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Add to an error's hint what the proxy settings have to do with it.

    Args:
        error: what ended the way before the server was reached.
        choice: the caller's choice.
        chosen: the proxy that was used; None for none.
        target: the server.
        environ: the variables; None for the process's own.
    """
    environ = os.environ if environ is None else environ
    if chosen is None:
        if error.hop in (Hop.NAME, Hop.TCP) and not is_local(target.host):
            words = why_no_proxy(choice, target, environ)
            if error.cause in _BEFORE_A_PROXY or error.party is Party.NETWORK:
                words = f"{words}; {NAME_A_PROXY}" if words else NAME_A_PROXY
            if words and words not in error.hint:
                error.hint = f"{error.hint}; {words}" if error.hint else words
    elif isinstance(error, NameNotResolved) and error.hop is Hop.PROXY_NAME:
        error.hint = f"{error.hint}; the proxy was named by {chosen.source}={chosen.url}"


def why_no_proxy(choice: ProxyChoice, target: Target, environ: Mapping[str, str]) -> str:
    """Return why a proxy that the environment names is not used; empty where it names none."""
    url = choice.url if isinstance(choice, ProxyConfig) else choice
    if not is_environment(url):
        return ""
    unused = list(unused_variables(target.scheme, environ))
    if is_exempt(target.host, target.port, environ) and any(
        environ.get(name) for name in ("no_proxy", "NO_PROXY")
    ):
        name = "no_proxy" if environ.get("no_proxy") else "NO_PROXY"
        return f"{name} exempts this server, so the proxy of the environment was not used"
    if unused:
        names = ", ".join(unused)
        return (
            f"{names} is set and was not used: it counts only for http://; set https_proxy or"
            " MQTTWS_PROXY to the same URL"
        )
    return ""


def ignored_proxy(
    choice: ProxyChoice, target: Target, environ: Mapping[str, str] | None = None
) -> tuple[str, ProxyConfig] | None:
    """Return the proxy that a variable names and that is not used for a server, and its variable.

    None where there is no such proxy, or the variable cannot be read.
    """
    environ = os.environ if environ is None else environ
    if not why_no_proxy(choice, target, environ) or is_local(target.host):
        return None
    set_ = (name for name in (*_NAMING, *unused_variables(target.scheme, environ)))
    name = next((name for name in set_ if environ.get(name)), None)
    if name is None or environ[name].lower() == "none":
        return None
    config = ProxyConfig(environ[name])
    try:
        choose_proxy(config, target.scheme, target.host, target.port, environ)
    except UsageError:
        return None
    return name, config


_NAMING = ("MQTTWS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""Variables whose proxy counts for a server, unless ``no_proxy`` exempts it."""


def blame_proxy(error: ConnectFailed, chosen: Proxy | None) -> None:
    """Name the proxy where TLS through it breaks off or is not answered.

    The proxy has answered 200: it says that it is connected to the server.
    """
    if chosen is None or error.hop is not Hop.TLS:
        return
    if error.cause is Cause.NOT_TLS:
        error.party = Party.PROXY
        error.hint = (
            f"the proxy {chosen} said that it is connected, and what came through it is not TLS:"
            " probably its own page: ask the proxy's team to let this host pass without inspection"
        )
    if error.cause in (Cause.SILENT, Cause.CUT_OFF):
        ended = "stays silent" if error.cause is Cause.SILENT else "breaks off"
        error.party = Party.PROXY
        error.hint = (
            f"the proxy {chosen} said that it is connected, and TLS through it {ended}: the proxy's"
            " TLS inspection refuses the server or this client, or a firewall behind the proxy"
            " does: ask the proxy's team to let this host pass without inspection"
        )
