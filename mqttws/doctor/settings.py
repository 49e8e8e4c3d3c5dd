"""The settings of this host that count for a connection: proxies, CA files, versions."""

import os
import platform
import ssl
from collections.abc import Mapping

from ..net.proxy import (
    ProxyChoice,
    asks_for_login,
    choose_proxy_unasked,
    describe_environment,
)
from ..net.target import Target
from ..text import one_line

_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")

_OTHERS_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
"""Variables of other programs for their CA files."""


def describe_settings(
    target: Target, proxy: ProxyChoice, environ: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return what counts on this host, one thing a line, without secrets."""
    environ = os.environ if environ is None else environ
    chosen = choose_proxy_unasked(proxy, target.scheme, target.host, target.port, environ)
    found = list(describe_environment(target.scheme, target.host, target.port, environ))
    if chosen is None:
        found.append("proxy: none")
    else:
        asked = "its login is asked for" if asks_for_login(proxy) else "without a login"
        login = "with a login" if chosen.login is not None else asked
        found.append(f"proxy: {chosen.url} ({chosen.source}, {login})")
    found += [f"{name}={environ[name]}" for name in _CA_VARIABLES if name in environ]
    found += [
        f"{name}={environ[name]} (not used: it counts for other programs; give it with --ca)"
        for name in _OTHERS_CA_VARIABLES
        if name in environ
    ]
    found.append(f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}")
    return tuple(one_line(line) for line in found)
