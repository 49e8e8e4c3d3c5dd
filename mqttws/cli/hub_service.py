"""A hub's service API as the shell's commands ask it: the standard library's HTTP, and a SAS.

Knows the file in which ``mqttws serve --with-hub`` leaves its connection strings. No connection
string stands in an argument, where other users could see it.
"""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..dps.sas import decode_key, sign_token
from ..errors import (
    HubRequestRejected,
    MqttwsError,
    RequestTimedOut,
    UnusableFile,
    UsageError,
    store_failed,
)
from ..hops import Cause
from ..net.tls import TlsConfig
from ..text import short_line
from .files import check_name, content_of, read_file
from .unreached import unreached

CONNECTION_FILE = "hub-connection.json"
"""In the state folder of ``serve --with-hub``: connection strings and the CA's file."""

VARIABLE = "MQTTWS_HUB_CONNECTION"
"""Environment variable with a service's connection string."""

HTTP_TIMEOUT = 10.0
"""Seconds for a request, beyond those that it asks the hub to wait."""

TOKEN_SECONDS = 3600

MAX_ANSWER = 64 * 1024 * 1024


class HubService:
    """Asks a hub's service API.

    Args:
        connection_string: of a service: HostName, SharedAccessKeyName and SharedAccessKey.
        ca: file of a CA to trust; None for the system's.

    Raises:
        UsageError: the connection string cannot be read; it is not shown.
    """

    def __init__(self, connection_string: str, ca: str | None = None) -> None:
        pairs = [part.partition("=") for part in connection_string.strip().split(";")]
        parts = {name: value for name, _, value in pairs}
        if not {"HostName", "SharedAccessKeyName", "SharedAccessKey"} <= parts.keys():
            raise UsageError(
                "the hub's connection string has no HostName, SharedAccessKeyName or"
                " SharedAccessKey; allowed: a service's, as serve --with-hub prints it"
            )
        self.host: str = parts["HostName"]
        self._policy = parts["SharedAccessKeyName"]
        self._key = decode_key(parts["SharedAccessKey"])
        context = TlsConfig(ca=ca, only_ca=ca is not None).context()
        # No proxy stands between this machine and itself, and no redirect is followed: the
        # signature is for this host alone.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
            _StayHere(),
        )

    def __repr__(self) -> str:
        return f"<HubService {self.host}>"

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
    ) -> Any:
        """Send one request; return the answer's JSON, None where it has none.

        Args:
            method: of HTTP.
            path: percent-encoded.
            body: bytes as they are, anything else as JSON.
            headers: further ones.
            wait: seconds that the hub may take by request.

        Raises:
            HubRequestRejected: the hub refused it.
            MqttwsError: there is no hub.
        """
        with self._open(method, path, body, headers, HTTP_TIMEOUT + wait) as response:
            text = response.read(MAX_ANSWER)
        return json.loads(text) if text else None

    def lines(self, path: str, timeout: float | None) -> Iterator[dict[str, Any]]:
        """Yield the objects of a JSON Lines answer as they come.

        Args:
            path: percent-encoded.
            timeout: seconds without an object. The hub sends an empty line every 15 s, so a longer
                one is noticed up to 15 s late.

        Raises:
            RequestTimedOut: there was none in time.
        """
        headers = {"Accept": "application/x-ndjson"}
        with self._open("GET", path, None, headers, timeout) as response:
            lines = iter(response)
            last = time.monotonic()
            while True:
                try:
                    line = next(lines, None)
                except TimeoutError:
                    raise _no_event(timeout) from None
                if line is None:
                    return
                if line.strip():
                    yield json.loads(line)
                    last = time.monotonic()
                elif timeout is not None and time.monotonic() >= last + timeout:
                    raise _no_event(timeout)

    @contextmanager
    def _open(
        self,
        method: str,
        path: str,
        body: object,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> Iterator[Any]:
        expiry = int(time.time()) + TOKEN_SECONDS
        data = None if body is None else body
        if data is not None and not isinstance(data, bytes):
            data = json.dumps(body).encode()
        request = urllib.request.Request(
            f"https://{self.host}{path}",
            data,
            {
                "Authorization": sign_token(self.host, self._key, expiry, self._policy),
                "Content-Type": "application/json",
                **{_AsWritten(name): value for name, value in (headers or {}).items()},
            },
            method=method,
        )
        try:
            with self._opener.open(request, timeout=timeout) as response:
                yield response
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except MqttwsError:  # of what is done with the answer; one of them is a TimeoutError
            raise
        except TimeoutError:
            raise RequestTimedOut(
                f"the hub at {self.host} has sent no answer within {timeout:g} s"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            hint = "start one with: mqttws serve --with-hub"
            raise unreached(f"no hub at {self.host}", self.host, error, hint) from None


class _AsWritten(str):
    """A header's name that ``urllib`` does not write in capitals.

    A message's property has its name in one, and the device gets it as the hub does.
    """

    __slots__ = ()

    def title(self) -> str:
        """Return it as it is."""
        return self

    def capitalize(self) -> str:
        """Return it as it is."""
        return self


def _no_event(timeout: float | None) -> RequestTimedOut:
    return RequestTimedOut(
        f"the hub has sent no further event within {timeout:g} s",
        hint="wait longer, or begin earlier: --after 0 prints what the hub has kept",
    )


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Refuse: the answer then is an error with its own status."""


def _refusal(error: urllib.error.HTTPError) -> HubRequestRejected:
    try:
        body = json.loads(error.read(MAX_ANSWER))
        message, code = str(body["Message"]), int(body.get("errorCode", 0))
    except (ValueError, KeyError, TypeError, OSError):
        message, code = str(error.reason), 0
    text = f"the hub answered {error.code}: {short_line(message)}"
    return HubRequestRejected(text, status=error.code, error_code=code)


def write_connections(folder: Path, hubs: Mapping[str, str], ca_file: Path) -> Path:
    """Write the file that ``find_service`` reads; mode 0600.

    Args:
        folder: the state folder.
        hubs: connection strings by hub name, the first one first.
        ca_file: what clients must trust.

    Raises:
        StoreFailed: it cannot be written.
    """
    file = folder / CONNECTION_FILE
    part = file.with_suffix(".new")
    try:
        opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w") as new:
            json.dump({"ca_file": str(ca_file), "hubs": dict(hubs)}, new)
        part.replace(file)
    except OSError as error:
        raise store_failed(f"the hub's connection file: {file}: {error.strerror}", error) from error
    return file


def find_service(file: str, hub: str | None, ca: str | None) -> HubService:
    """Return the hub of the environment's connection string, or of a running ``serve``.

    Args:
        file: as ``write_connections`` has made it.
        hub: the hub's name; None for the first.
        ca: file of a CA to trust; None for the one in the file.

    Raises:
        UnusableFile: there is neither, or it cannot be read.
        UsageError: the variable or the hub's name is invalid.
    """
    if ca is not None:
        check_name(ca, "--ca")
    given = os.environ.get(VARIABLE)
    if given:
        return HubService(given, ca)
    check_name(file, "--connection-file")
    if not os.path.exists(file):
        raise UnusableFile(
            f"there is no {file}, nor {VARIABLE} in the environment",
            file=file,
            cause=Cause.FILE_UNREADABLE,
            hint="start a hub with: mqttws serve --with-hub; --connection-file names its file",
        )
    try:
        known = json.loads(read_file(file, "the hub's connection file"))
        hubs, known_ca = dict(known["hubs"]), str(known["ca_file"])
    except (ValueError, KeyError, TypeError):
        hubs, known_ca = {}, ""
    if not hubs:
        raise UnusableFile(f"{file}: expected the file that serve --with-hub writes", file=file)
    if hub is not None and hub not in hubs:
        raise UsageError(f"hub {hub!a}; allowed: {', '.join(hubs)}")
    with content_of(file, "the hub's connection file"):
        return HubService(hubs[hub or next(iter(hubs))], ca or known_ca)
