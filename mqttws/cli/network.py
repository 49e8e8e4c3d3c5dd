"""Options about the network: the proxy, with its login in a file, and trust and version of TLS."""

import functools
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..errors import UnusableFile
from ..net.proxy import is_environment
from ..net.proxy_url import has_login, split
from ..net.tls import TlsConfig
from ..options import CLIENT
from .files import content_of, read_secret
from .table import option

_F = TypeVar("_F", bound=Callable[..., Any])

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.MAXIMUM_SUPPORTED}


def _check_proxy(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and has_login(value):
        raise click.BadParameter(
            "other users could see the login in the list of processes; set MQTTWS_PROXY, or give a"
            " file (--proxy-file)"
        )
    return value


def proxy_options(command: _F) -> _F:
    """Add ``--proxy`` and ``--proxy-file``; the command gets ``proxy``, with the file's login."""

    @functools.wraps(command)
    def with_proxy(*, proxy: str | None, proxy_file: str | None, **given: Any) -> Any:
        if proxy_file is not None:
            if proxy is not None and not is_environment(proxy):
                raise click.UsageError("--proxy and --proxy-file: give one of them")
            proxy = _read_proxy(proxy_file)
        return command(proxy=proxy, **given)

    for add in (
        click.option(
            "--proxy-file",
            metavar="FILE",
            help="File with the proxy's URL and its login; - for standard input.",
        ),
        option(
            "--proxy",
            CLIENT,
            "proxy",
            metavar="URL",
            callback=_check_proxy,
            note="Without a login.",
        ),
    ):
        with_proxy = add(with_proxy)
    return with_proxy  # type: ignore[return-value]


def _read_proxy(file: str) -> str:
    url = read_secret(file, "proxy file").strip()
    if not url or "\n" in url:
        raise UnusableFile(
            f"proxy file {file}: expected one line, such as"
            " http://user:password@proxy.example:3128",
            file=file,
        )
    if not is_environment(url) and url.lower() != "none":
        with content_of(file):
            split(url, f"in {file}")
    return url


def trust_options(command: _F) -> _F:
    """Add ``--ca`` and ``--tls-max``; the command gets ``tls``, a ``TlsConfig``."""

    @functools.wraps(command)
    def with_trust(*, ca: str | None, tls_max: str | None, **given: Any) -> Any:
        version = _VERSIONS[tls_max or "1.3"]
        return command(tls=TlsConfig(ca=ca, maximum_version=version), **given)

    for add in (
        click.option(
            "--tls-max",
            type=click.Choice(list(_VERSIONS)),
            help="The newest TLS version to offer: 1.2 where a firewall cannot stand TLS 1.3.",
        ),
        click.option(
            "--ca",
            metavar="FILE",
            help="Trust the CA certificates in this file too (PEM, DER or PKCS#7), besides the"
            " system's.",
        ),
    ):
        with_trust = add(with_trust)
    return with_trust  # type: ignore[return-value]
