"""``mqttws enroll`` and ``derive-key``: who may register at a local service, by its admin API.

Knows the admin API's paths, and HTTP through the standard library. Needs no aiohttp: that is the
service's side.
"""

import http.client
import json
import secrets
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import click

from ..dps.enrollment_json import parse_enrollments
from ..dps.json_text import parse_json
from ..dps.names import check_registration_id
from ..dps.sas import decode_key, derive_device_key
from ..errors import MqttwsError, UsageError
from ..text import one_line
from .common import debug_option, read_file, read_key
from .exits import EXIT_CODES, Command
from .output import print_json, print_line

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer of the admin API that are read: all enrollments of a large service."""

HTTP_TIMEOUT = 10.0
"""Seconds for each request to the admin API."""

_KINDS = {False: ("enrollments", "registrationId"), True: ("enrollmentGroups", "enrollmentGroupId")}

_F = TypeVar("_F", bound=Callable[..., Any])


class AdminClient:
    """Asks a local service's admin API.

    Args:
        url: where it listens.
        token: None for a loopback address.

    Raises:
        UsageError: the URL cannot be one.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"admin URL {url[:100]!r}; allowed: one like http://127.0.0.1:8080")
        self._url = url.rstrip("/")
        self._token = token
        # No proxy stands between this machine and itself, whatever the environment says.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _StayHere())

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
            reason = getattr(error, "reason", error)
            raise MqttwsError(
                f"no admin API at {self._url}: {reason}",
                hint="start one with: mqttws serve --admin-port N",
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
        super().__init__(message)
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
            "--token-file",
            metavar="FILE",
            help="File with the admin API's token, if it has one; - for standard input.",
        ),
        click.option(
            "--admin",
            required=True,
            metavar="URL",
            help="The admin API, such as http://127.0.0.1:8080; serve prints it.",
        ),
    ):
        command = option(command)
    return debug_option(command)


def client_for(admin: str, token_file: str | None) -> AdminClient:
    """Return the client of the admin API that a command's options name."""
    token = None if token_file is None else read_file(token_file, "token file").strip()
    return AdminClient(admin, token)


_ENROLL_EPILOG = f"""\b
Examples:
  Enroll what a file says, in the shape of the DPS service API:
    mqttws enroll --admin http://127.0.0.1:8080 put fleet.json
  Enroll one device with fresh keys, and print its key into a file:
    mqttws enroll --admin http://127.0.0.1:8080 device my-device > my.key
  See who is enrolled, and take one back:
    mqttws enroll --admin http://127.0.0.1:8080 list
    mqttws enroll --admin http://127.0.0.1:8080 delete my-device

{EXIT_CODES}"""


@click.group(epilog=_ENROLL_EPILOG, short_help="Tell a running local DPS who may register.")
@admin_options
@click.pass_context
def enroll(ctx: click.Context, *, admin: str, token_file: str | None) -> None:
    """Tell a running local DPS who may register; it takes effect at once.

    The service must have been started with --admin-port.
    """
    ctx.obj = client_for(admin, token_file)


@enroll.command("put", cls=Command)
@click.argument("file")
@click.pass_obj
def put(client: AdminClient, file: str) -> None:
    """Enroll everyone in FILE, a JSON list or one object; - for standard input.

    An enrollment with the same id is replaced.
    """
    text = read_file(file, "enrollments")
    source = "standard input" if file == "-" else file
    parse_enrollments(text, source)  # all of it, before any of it is sent
    given = json.loads(text)
    for record in given if isinstance(given, list) else given.get("value") or [given]:
        group = "registrationId" not in record
        kind, member = _KINDS[group]
        path = f"/{kind}/{quote(record[member], safe='')}"
        client.ask("PUT", path, record, {"If-Match": "*"})
        print_line(f"enrolled {record[member]}")


@enroll.command("device", cls=Command)
@click.argument("registration_id")
@click.option("--new-key", is_flag=True, help="Replace the keys of a device that is enrolled.")
@click.pass_obj
def device(client: AdminClient, registration_id: str, *, new_key: bool) -> None:
    """Enroll one device with fresh keys, and print its primary key.

    For a device that is enrolled already, print its key and change nothing.
    """
    path = f"/enrollments/{quote(registration_id, safe='')}"
    attestation: dict[str, Any] = {"type": "symmetricKey"}
    try:
        if new_key:
            names = ("primaryKey", "secondaryKey")
            keys = {name: b64encode(secrets.token_bytes(64)).decode() for name in names}
            known = client.ask("GET", path) | {"attestation": attestation | {"symmetricKey": keys}}
            client.ask("PUT", path, known, {"If-Match": known["etag"]})
        else:
            client.ask("PUT", path, {"attestation": attestation}, {"If-None-Match": "*"})
    except Answered as error:
        if error.status not in (404, 412):
            raise
        if error.status == 404:  # --new-key for one that is not enrolled yet
            client.ask("PUT", path, {"attestation": attestation}, {"If-None-Match": "*"})
    found = client.ask("POST", f"{path}/attestationmechanism")
    if found["type"] != "symmetricKey":
        raise UsageError(f"{registration_id} is enrolled with a certificate, and has no key")
    click.echo(one_line(str(found["symmetricKey"]["primaryKey"])))


@enroll.command("list", cls=Command)
@click.option("--groups", is_flag=True, help="Enrollment groups, instead of single devices.")
@click.pass_obj
def list_(client: AdminClient, *, groups: bool) -> None:
    """Print who is enrolled, one JSON object in a line for each, without keys."""
    query = {"query": "SELECT * FROM enrollments"}
    for page in client.pages(f"/{_KINDS[groups][0]}/query", query):
        for record in page:
            print_json(record, schema=None)


@enroll.command("delete", cls=Command)
@click.argument("name")
@click.option("--group", is_flag=True, help="NAME is an enrollment group's.")
@click.pass_obj
def delete(client: AdminClient, name: str, *, group: bool) -> None:
    """Take an enrollment back; what has been registered stays."""
    client.ask("DELETE", f"/{_KINDS[group][0]}/{quote(name, safe='')}")


_DERIVE_EPILOG = f"""\b
Examples:
  mqttws derive-key --registration-id my-device --key-file group.key > my.key
  MQTTWS_KEY=... mqttws derive-key --registration-id my-device

{EXIT_CODES}"""


@click.command(
    "derive-key",
    cls=Command,
    epilog=_DERIVE_EPILOG,
    short_help="Derive a device's key from its group's.",
)
@click.option(
    "--registration-id", required=True, metavar="ID", help="The device's name at DPS; case counts."
)
@click.option(
    "--key-file",
    metavar="FILE",
    help="File with the enrollment group's key, base64; - for standard input.",
)
@debug_option
def derive_key(*, registration_id: str, key_file: str | None) -> None:
    """Print the key of one device of an enrollment group.

    For the person who holds the group's key. Put what this prints into the device,
    and never the group's key: whoever reads that out of one device can pose as any.
    """
    group_key = decode_key(read_key(key_file))
    derived = derive_device_key(group_key, check_registration_id(registration_id))
    click.echo(b64encode(derived).decode())
