"""``mqttws hub``: the service's side of a running local hub, over its service API.

Knows the API's paths. How they are asked is ``hub_service``'s matter.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..dps.json_text import parse_json
from ..dps.sas import decode_key
from ..errors import UsageError
from ..local.x509 import fingerprint_of
from ..options import CREATE_DEVICE, PATCH_TWIN, SEND, SERVICE_INVOKE
from ..text import shown
from ..utf8 import percent_encoded
from .common import KEY_FILE, debug_option
from .exits import ASKING_EXIT_CODES, Command
from .files import content_of, read_file, read_secret
from .hub_faults import fault, throttle
from .hub_service import CONNECTION_FILE, VARIABLE, HubService, find_service
from .output import print_json, print_line
from .serve import default_state
from .table import option

_F = TypeVar("_F", bound=Callable[..., Any])

_EPILOG = f"""\b
Examples:
  A hub beside the local DPS, on the same ports:
    mqttws serve --with-hub
  Everything that devices send, one JSON object in a line:
    mqttws hub watch
  A message to a device, and a direct method:
    mqttws hub send my-device 'hello' --property room=kitchen
    mqttws hub invoke my-device reboot '{{"delay": 5}}'
  A twin, and a change of its desired properties:
    mqttws hub twin my-device
    mqttws hub twin my-device --desired '{{"interval": 10}}'
  The hub goes wrong, or takes no more than so much:
    mqttws hub fault drop --operation telemetry
    mqttws hub throttle --telemetry 5
  A device that does not come through DPS:
    mqttws hub create-device my-device

\b
Environment:
  {VARIABLE}  a service's connection string, instead of the file
                         that serve --with-hub writes

{ASKING_EXIT_CODES}"""


@click.group(epilog=_EPILOG, short_help="The service's side of a local hub: watch, send, invoke.")
@click.option(
    "--connection-file",
    default=lambda: f"{default_state()}/{CONNECTION_FILE}",
    metavar="FILE",
    help="File that serve --with-hub writes into its --state DIR.  [default: the default DIR's]",
)
@click.option("--hub", "hub_name", metavar="NAME", help="One of several.  [default: the first]")
@click.option("--ca", metavar="FILE", help="CA to trust.  [default: the local service's]")
@debug_option
@click.pass_context
def hub(ctx: click.Context, *, connection_file: str, hub_name: str | None, ca: str | None) -> None:
    """Do what a service does at a running local hub.

    The hub is started with: mqttws serve --with-hub. Any other program can do the
    same through its service API; serve prints the connection string.
    """
    ctx.obj = lambda: find_service(connection_file, hub_name, ca)


Service = Callable[[], HubService]


hub.add_command(fault)
hub.add_command(throttle)


@hub.command("watch", cls=Command)
@click.option("--device", metavar="ID", help="Only this device.  [default: all]")
@click.option("--all", "everything", is_flag=True, help="Connections and twin changes too.")
@click.option("--after", type=click.IntRange(0), metavar="N", help="Begin behind event N; 0: all.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N lines.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    metavar="S",
    help="End, with code 1, after S seconds without an event.",
)
@click.pass_obj
def watch(
    service: Service,
    *,
    device: str | None,
    everything: bool,
    after: int | None,
    count: int | None,
    timeout: float | None,
) -> None:
    """Print what devices send, one JSON object in a line for each message.

    The hub keeps the latest 50,000 events, 5,000 of one device, in 64 MiB at most; the oldest
    go first.
    """
    path = "/messages/events" + ("" if after is None else f"?after={after}")
    left = count
    for event in service().lines(path, timeout):
        if device not in (None, event.get("deviceId")):
            continue
        if everything or event.get("event") == "telemetry":
            print_json(event)
            left = None if left is None else left - 1
            if left == 0:
                return


@hub.command("send", cls=Command)
@click.argument("device")
@click.argument("message")
@click.option("--property", "properties", multiple=True, metavar="NAME=VALUE", help="Repeatable.")
@option("--message-id", SEND, "message_id", metavar="ID", note="Feedback names it.")
@option("--content-type", SEND, "content_type", metavar="TYPE", note="Such as application/json.")
@option("--content-encoding", SEND, "content_encoding", metavar="NAME", note="Such as utf-8.")
@option("--correlation-id", SEND, "correlation_id", metavar="ID")
@option("--user-id", SEND, "user_id", metavar="ID")
@option("--ack", SEND, "ack")
@option("--expires-in", SEND, "expires_in", metavar="S", note=" [default: 3600]")
@click.pass_obj
def send(
    service: Service,
    /,
    *,
    device: str,
    message: str,
    properties: tuple[str, ...],
    ack: str,
    expires_in: float | None,
    **system: str,
) -> None:
    """Send DEVICE a MESSAGE; - reads it from standard input. It waits for the device."""
    data = sys.stdin.buffer.read() if message == "-" else os.fsencode(message)
    headers = {"Content-Type": "application/octet-stream"}
    for pair in properties:
        name, separator, value = pair.partition("=")
        if not name or not separator:
            raise UsageError(f"--property {pair!a}; allowed: NAME=VALUE")
        header = f"iothub-app-{percent_encoded(name, '--property')}"
        headers[header] = percent_encoded(value, "--property")
    for name, value in system.items():
        if not (value.isascii() and value.isprintable()):
            raise UsageError(
                f"--{name.replace('_', '-')} {shown(value)}; allowed: ASCII, no control characters"
            )
        if value:
            headers[f"iothub-{name.replace('_', '')}"] = value
    if ack != SEND["ack"].default:
        headers["iothub-ack"] = ack
    if expires_in is not None:
        headers["iothub-expiry"] = str(time.time() + expires_in)
    path = f"/devices/{percent_encoded(device, 'device')}/messages/devicebound"
    service().ask("POST", path, data, headers=headers)
    print_line(f"queued for {device}")


@hub.command("invoke", cls=Command)
@click.argument("device")
@click.argument("method")
@click.argument("payload", default="null")
@option("--module", SERVICE_INVOKE, "module_id", metavar="ID")
@option("--timeout", SERVICE_INVOKE, "response_timeout", metavar="S")
@option("--connect-timeout", SERVICE_INVOKE, "connect_timeout", metavar="S")
@click.pass_obj
def invoke(
    service: Service,
    *,
    device: str,
    method: str,
    payload: str,
    module_id: str,
    response_timeout: int,
    connect_timeout: int,
) -> None:
    """Call a direct METHOD of DEVICE with PAYLOAD, JSON; print its answer."""
    body = {
        "methodName": method,
        "payload": _json(payload, "PAYLOAD"),
        "responseTimeoutInSeconds": response_timeout,
        "connectTimeoutInSeconds": connect_timeout,
    }
    path = f"/twins/{_path(device, module_id)}/methods"
    print_json(service().ask("POST", path, body, wait=response_timeout + connect_timeout))


@hub.command("twin", cls=Command)
@click.argument("device")
@option("--module", PATCH_TWIN, "module_id", metavar="ID")
@click.option("--desired", metavar="JSON", help="Merge this into the desired properties.")
@click.option("--tags", metavar="JSON", help="Merge this into the tags.")
@click.pass_obj
def twin(
    service: Service, *, device: str, module_id: str, desired: str | None, tags: str | None
) -> None:
    """Print DEVICE's twin; with --desired or --tags, after changing it."""
    body: dict[str, Any] = {}
    if desired is not None:
        body["properties"] = {"desired": _json(desired, "--desired")}
    if tags is not None:
        body["tags"] = _json(tags, "--tags")
    path = f"/twins/{_path(device, module_id)}"
    asked = service()
    print_json(asked.ask("PATCH", path, body) if body else asked.ask("GET", path))


@hub.command("devices", cls=Command)
@click.option("--query", metavar="SQL", help="Such as: SELECT * FROM devices WHERE tags.floor = 1")
@click.pass_obj
def devices(service: Service, *, query: str | None) -> None:
    """Print the devices, one JSON object in a line for each; their keys are not shown."""
    body = {"query": query or "SELECT * FROM devices"}
    headers = {"x-ms-max-item-count": "100000"}
    for row in service().ask("POST", "/devices/query", body, headers=headers):
        print_json(row)


@hub.command("create-device", cls=Command)
@click.argument("device")
@option("--module", CREATE_DEVICE, "module_id", metavar="ID")
@click.option("--key-file", metavar="FILE", help="Its key, base64.  [default: a fresh one]")
@click.option("--certificate", metavar="FILE", help="PEM: recognise it by this thumbprint.")
@option("--ca-signed", CREATE_DEVICE, "ca_signed")
@click.option("--delete", is_flag=True, help="Delete it instead.")
@click.pass_obj
def create_device(
    service: Service,
    *,
    device: str,
    module_id: str,
    key_file: str | None,
    certificate: str | None,
    ca_signed: bool,
    delete: bool,
) -> None:
    """Create a DEVICE, or a module of it, and print its key.

    With --ca-signed, a trusted CA is one of an enrollment group, or one that
    'mqttws serve --hub-ca FILE' has named.
    """
    asked = service()
    path = f"/devices/{_path(device, module_id)}"
    if delete:
        asked.ask("DELETE", path, headers={"If-Match": '"*"'})
        return
    authentication: dict[str, Any] = {"type": "sas"}
    if certificate is not None:
        pem = read_file(certificate, "certificate")
        with content_of(certificate, "certificate"):
            thumbprint = fingerprint_of(pem)
        authentication = {
            "type": "selfSigned",
            "x509Thumbprint": {"primaryThumbprint": thumbprint},
            "x509Certificate": pem,  # TLS must know it; the cloud needs the thumbprint alone
        }
    elif ca_signed:
        authentication = {"type": "certificateAuthority"}
    elif key_file is not None:
        key = read_secret(key_file, KEY_FILE).strip()
        with content_of(key_file, KEY_FILE):
            decode_key(key)
        authentication["symmetricKey"] = {"primaryKey": key}
    made = asked.ask("PUT", path, {"deviceId": device, "authentication": authentication})
    key = made["authentication"]["symmetricKey"]["primaryKey"]
    if key and certificate is None and not ca_signed:
        click.echo(key)


def _path(device: str, module: str) -> str:
    path = percent_encoded(device, "device")
    return path if not module else f"{path}/modules/{percent_encoded(module, 'module')}"


def _json(text: str, what: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        place = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UsageError(f"{what} is not JSON{place}; allowed: such as '{{\"a\": 1}}'") from None
