"""The admin API of a running local service as the shell's commands ask it, and their options.

Knows HTTP through the standard library. Needs no aiohttp: that is the service's side.
"""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from ..dps.json_text import parse_json
from ..errors import MqttwsError, UsageError
from ..errors.hub import cause_of_status
from ..net.names import is_loopback
from ..net.tls import TlsConfig
from ..text import one_line
from .common import debug_option
from .files import read_secret
from .unreached import unreached

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer of the admin API that are read: all enrollments of a large service."""

HTTP_TIMEOUT = 10.0
"""Seconds for each request to the admin API."""

ADMIN_VARIABLE = "MQTTWS_ADMIN"
"""Environment variable with the admin API's URL."""

_F = TypeVar("_F", bound=Callable[..., Any])


class AdminClient:
    """Asks a local service's admin API.

    Args:
        url: where it listens.
        token: None for a loopback address.
        ca: file of the CA to trust with https; None for the system's.

    Raises:
        UsageError: the URL cannot be one, or a token would travel in clear; the CA cannot be read.
    """

    def __init__(self, url: str, token: str | None = None, ca: str | None = None) -> None:
        allowed = f"admin URL {url[:100]!r}; allowed: one like http://127.0.0.1:8080"
        try:
            parts = urlsplit(url)
            host = parts.hostname if parts.port != 0 else None
        except ValueError:  # brackets without an address, or a port that is none
            raise UsageError(allowed) from None
        if parts.scheme not in ("http", "https") or not host:
            raise UsageError(allowed)
        if parts.scheme == "http" and token and not is_loopback(host):
            raise UsageError(
                f"admin URL {url[:100]!r}: the token would travel in clear; allowed: https",
                hint="serve prints the URL; trust its CA with --ca",
            )
        self._url = url.rstrip("/")
        self._token = token
        # No proxy stands between this machine and itself, whatever the environment says.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _StayHere()]
        if parts.scheme == "https":
            context = TlsConfig(ca=ca, only_ca=ca is not None).context()
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Send one request; return the answer's JSON, None where it has none.

        Raises:
            Answered: the service said no.
            MqttwsError: there is none, or its answer cannot be read.
        """
        return self._ask(method, path, body, headers or {})[0]

    def pages(self, path: str, body: object) -> Iterator[Any]:
        """Send a query; yield each page of its answer, to the last."""
        headers: dict[str, str] = {}
        while True:
            page, found = self._ask("POST", path, body, headers)
            yield page
            if "x-ms-continuation" not in found:
                return
            headers["x-ms-continuation"] = found["x-ms-continuation"]

    def _ask(
        self, method: str, path: str, body: object, headers: Mapping[str, str]
    ) -> tuple[Any, Message]:
        request = urllib.request.Request(  # noqa: S310 - the scheme has been checked
            self._url + path,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", **headers},
            method=method,
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=HTTP_TIMEOUT) as response:
                text = response.read(MAX_ANSWER + 1)
                found = response.headers
        except urllib.error.HTTPError as error:
            raise Answered(
                f"the service answered {error.code}: {_message(error)}", error.code
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise unreached(
                f"no admin API at {self._url}",
                urlsplit(self._url).netloc,
                error,
                "start one with: mqttws serve --admin-port N",
            ) from None
        if len(text) > MAX_ANSWER:
            raise MqttwsError(f"the service's answer is longer than {MAX_ANSWER} bytes")
        try:
            return (parse_json(text) if text else None), found
        except ValueError:
            raise MqttwsError(
                f"{self._url} answers with something that is not JSON: no admin API listens there"
            ) from None


class Answered(MqttwsError):
    """The service said no.

    Attributes:
        status: of its answer, as in HTTP.
    """

    def __init__(self, message: str = "", status: int = 0) -> None:
        super().__init__(message, cause=cause_of_status(status))
        self.status = status


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token is for this service alone, and another one would get it."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Refuse: the answer then is an error with its own status."""


def _message(error: urllib.error.HTTPError) -> str:
    if 300 <= error.code < 400:
        there = one_line(str(error.headers.get("Location", "")))[:200]
        return f"it points to {there}, which is not followed: give the right --admin URL"
    try:
        return str(json.loads(error.read(MAX_ANSWER))["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return str(error.reason)


def admin_options(command: _F) -> _F:
    """Give a command the options that lead to an admin API."""
    for option in (
        click.option(
            "--ca",
            metavar="FILE",
            help="Trust this CA alone, where the admin API is at https; serve prints its file.",
        ),
        click.option(
            "--token-file",
            metavar="FILE",
            help="File with the admin API's token, if it has one; - for standard input.",
        ),
        click.option(
            "--admin",
            envvar=ADMIN_VARIABLE,
            metavar="URL",
            help="The admin API, such as http://127.0.0.1:8080; serve prints it."
            f"  [default: {ADMIN_VARIABLE}]",
        ),
    ):
        command = option(command)
    return debug_option(command)


def client_for(admin: str | None, token_file: str | None, ca: str | None) -> AdminClient:
    """Return the client of the admin API that a command's options name.

    Raises:
        UsageError: they name none, or see ``AdminClient``.
    """
    if not admin:
        raise UsageError(
            f"the admin API's URL is missing; give --admin URL, or set {ADMIN_VARIABLE}",
            hint="serve prints the URL",
        )
    token = None if token_file is None else read_secret(token_file, "token file").strip()
    return AdminClient(admin, token, ca)
