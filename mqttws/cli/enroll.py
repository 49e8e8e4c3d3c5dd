"""``mqttws enroll`` and ``derive-key``: who may register at a local service, by its admin API.

Knows the admin API's paths.
"""

import json
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import click

from ..dps.enrollment_json import parse_enrollments
from ..dps.json_reader import JsonValue, parse_text
from ..dps.names import check_registration_id
from ..dps.sas import decode_key, derive_device_key
from ..errors import UsageError
from ..text import one_line
from ..utf8 import percent_encoded
from .admin import AdminClient, Answered, admin_options, client_for
from .common import KEY_FILE, debug_option, read_key
from .exits import ASKING_EXIT_CODES, EXIT_CODES, Command
from .files import content_of, read_file
from .output import print_json, print_line

_KINDS = {False: ("enrollments", "registrationId"), True: ("enrollmentGroups", "enrollmentGroupId")}


_ENROLL_EPILOG = f"""\b
Examples:
  Enroll what a file says, in the shape of the DPS service API:
    mqttws enroll --admin http://127.0.0.1:8080 put fleet.json
  Enroll one device with fresh keys, and print its key into a file:
    mqttws enroll --admin http://127.0.0.1:8080 device my-device > my.key
  See who is enrolled, and take one back:
    mqttws enroll --admin http://127.0.0.1:8080 list
    mqttws enroll --admin http://127.0.0.1:8080 delete my-device
  Move a whole service, its keys too:
    mqttws enroll --admin http://127.0.0.1:8080 export --keys > service.json
    mqttws enroll --admin http://127.0.0.1:9090 import service.json

{ASKING_EXIT_CODES}"""


@click.group(epilog=_ENROLL_EPILOG, short_help="Tell a running local DPS who may register.")
@admin_options
@click.pass_context
def enroll(
    ctx: click.Context, *, admin: str | None, token_file: str | None, ca: str | None
) -> None:
    """Tell a running local DPS who may register; it takes effect at once.

    The service must have been started with --admin-port.
    """
    ctx.obj = lambda: client_for(admin, token_file, ca)  # so that --help needs no service


def _with_client(work: Callable[..., None]) -> Callable[..., None]:
    """Give a command the client of the admin API as its first argument."""

    @click.pass_obj
    @wraps(work)
    def run(make: Callable[[], AdminClient], /, *given: Any, **options: Any) -> None:
        work(make(), *given, **options)

    return run


@enroll.command("put", cls=Command)
@click.argument("file")
@_with_client
def put(client: AdminClient, file: str) -> None:
    """Enroll everyone in FILE, a JSON list or one object; - for standard input.

    An enrollment with the same id is replaced.
    """
    text, source = _read(file)
    with content_of(file):
        parse_enrollments(text, source)  # all of it, before any of it is sent
    for record in _records(json.loads(text)):
        _put(client, record)


@enroll.command("import", cls=Command)
@click.argument("file")
@_with_client
def import_(client: AdminClient, file: str) -> None:
    """Take what 'export', the cloud or an SDK has written into FILE; - for standard input.

    FILE is a JSON list of enrollments and groups, one of them, a page of a query
    ({"value": [...]}), or an export, whose CA certificates come first. One with the
    same id or name is replaced. Where FILE has no keys, those that are there stay,
    and a new enrollment gets fresh ones.
    """
    text, source = _read(file)
    with content_of(file):
        whole = parse_text(text, source)
        records = _records(whole)
        if not records:
            parse_enrollments(text, source)  # it says what is wrong
        known = [_with_keys(record) for record in records]
        parse_enrollments(json.dumps(known), source)  # all of it, before any of it is sent
        cas = list(_cas(whole, source))
    for name, certificate in cas:
        client.ask("PUT", _path("certificates", name), {"certificate": certificate})
        print_line(f"uploaded CA certificate {one_line(name)}")
    for record, complete in zip(records, known, strict=True):
        _put(client, record, "" if record is complete else "; FILE has no keys of it")


def _cas(whole: Any, source: str) -> Iterator[tuple[str, str]]:
    """Yield name and certificate of each CA of an export.

    Raises:
        UsageError: one is none.
    """
    members = JsonValue(whole, "", source)
    if not isinstance(whole, dict) or members.member("certificates").missing:
        return
    for ca in members.member("certificates").items("a list of CA certificates"):
        ca.object("an object with name and certificate")
        yield ca.member("name").text("a name"), ca.member("certificate").text("a certificate")


def _read(file: str) -> tuple[str, str]:
    """Return a file's text, and its name for errors."""
    return read_file(file, "enrollments"), "standard input" if file == "-" else file


def _records(whole: Any) -> list[Any]:
    """Return the enrollments of a file's JSON, as ``parse_enrollments`` takes them; else none."""
    if not isinstance(whole, dict):
        return whole if isinstance(whole, list) else []
    lists = [whole.get(name) for name in ("value", "enrollments", "enrollmentGroups")]
    listed = [of for of in lists if of is not None]
    if not all(isinstance(of, list) for of in listed):
        return []
    return [record for of in listed for record in of] if listed else [whole]


def _with_keys(record: Any) -> Any:
    """Return a record of which the keys alone may be missing, complete for the check."""
    attestation = record.get("attestation") if isinstance(record, dict) else None
    if not isinstance(attestation, dict) or attestation.get("type") != "symmetricKey":
        return record
    if attestation.get("symmetricKey"):
        return record
    keys = {"primaryKey": b64encode(bytes(64)).decode()}
    return record | {"attestation": attestation | {"symmetricKey": keys}}


def _path(kind: str, name: str) -> str:
    return f"/{kind}/{percent_encoded(name, 'name')}"


def _put(client: AdminClient, record: dict[str, Any], remark: str = "") -> None:
    kind, member = _KINDS["registrationId" not in record]
    client.ask("PUT", _path(kind, record[member]), record, {"If-Match": "*"})
    print_line(f"enrolled {record[member]}{remark}")


@enroll.command("export", cls=Command)
@click.option("--keys", is_flag=True, help="With the symmetric keys: the output is a secret then.")
@_with_client
def export(client: AdminClient, *, keys: bool) -> None:
    """Print the whole service as JSON: CA certificates, enrollments and groups.

    'mqttws enroll import' takes it. Registrations are not in it: devices register
    again.
    """
    cas = client.ask("GET", "/certificates")["value"]
    whole: dict[str, Any] = {
        "certificates": [
            {"name": ca["name"], "certificate": ca["properties"]["certificate"]} for ca in cas
        ]
    }
    for kind, member in _KINDS.values():
        whole[kind] = [
            _exported(client, _path(kind, record[member]), record, keys=keys)
            for page in client.pages(f"/{kind}/query", {"query": "SELECT *"})
            for record in page
        ]
    print_json(whole, schema=None)


def _exported(
    client: AdminClient, path: str, record: dict[str, Any], *, keys: bool
) -> dict[str, Any]:
    """Return a record without what the service makes, and with its keys where they are wanted."""
    mine = ("etag", "createdDateTimeUtc", "lastUpdatedDateTimeUtc", "registrationState")
    kept = {name: value for name, value in record.items() if name not in mine}
    if keys and record["attestation"]["type"] == "symmetricKey":
        kept["attestation"] = client.ask("POST", f"{path}/attestationmechanism")
    return kept


@enroll.command("ca", cls=Command)
@click.argument("name")
@click.argument("file")
@_with_client
def ca_(client: AdminClient, name: str, file: str) -> None:
    """Upload the certificate in FILE, PEM or its base64, as the CA NAME.

    Groups refer to it by NAME (caReferences). One that has the name is replaced.
    """
    certificate = read_file(file, "CA certificate")
    client.ask("PUT", _path("certificates", name), {"certificate": certificate})
    print_line(f"uploaded CA certificate {one_line(name)}")


@enroll.command("device", cls=Command)
@click.argument("registration_id")
@click.option("--new-key", is_flag=True, help="Replace the keys of a device that is enrolled.")
@_with_client
def device(client: AdminClient, registration_id: str, *, new_key: bool) -> None:
    """Enroll one device with fresh keys, and print its primary key.

    For a device that is enrolled already, print its key and change nothing.
    """
    path = _path("enrollments", registration_id)
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
@_with_client
def list_(client: AdminClient, *, groups: bool) -> None:
    """Print who is enrolled, one JSON object in a line for each, without keys."""
    query = {"query": "SELECT * FROM enrollments"}
    for page in client.pages(f"/{_KINDS[groups][0]}/query", query):
        for record in page:
            print_json(record, schema=None)


@enroll.command("delete", cls=Command)
@click.argument("name")
@click.option("--group", is_flag=True, help="NAME is an enrollment group's.")
@click.option("--ca", is_flag=True, help="NAME is an uploaded CA certificate's.")
@_with_client
def delete(client: AdminClient, name: str, *, group: bool, ca: bool) -> None:
    """Take an enrollment back; what has been registered stays."""
    if group and ca:
        raise UsageError("--group and --ca; allowed: one of them")
    kind = "certificates" if ca else _KINDS[group][0]
    client.ask("DELETE", _path(kind, name))


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
    and never the group's key: a thief who reads that out of one device can pose as any.
    """
    key = read_key(key_file)
    with content_of(key_file, KEY_FILE):
        group_key = decode_key(key)
    derived = derive_device_key(group_key, check_registration_id(registration_id))
    click.echo(b64encode(derived).decode())
