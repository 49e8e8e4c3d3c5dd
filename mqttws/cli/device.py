"""``mqttws device run``: a device that sends telemetry, answers methods and reports its twin.

Knows the options and what is printed. What happens is ``mqttws.AsyncHubClient``.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Literal

import click

import mqttws

from ..errors import MqttwsError, UsageError
from ..hops import Cause, Hop
from ..hub.device.connection_string import ConnectionString, parse_connection_string
from ..options import HUB_CLIENT
from .common import check_host, credential_options, debug_option, json_option, read_credential
from .exits import Command, describe_exit_codes
from .files import content_of, read_secret
from .network import proxy_options, trust_options
from .output import print_json, print_line
from .table import option

VARIABLE = "MQTTWS_CONNECTION_STRING"
"""The environment variable that can hold a device's connection string."""

_EXIT_CODES = describe_exit_codes(*Hop)

_EPILOG = f"""\b
Secrets: no option takes a key or a connection string, for other users could see
it in the list of processes. They come from files (- for standard input), from
{VARIABLE} and from MQTTWS_KEY.

\b
Examples:
  A device with a connection string, a message every 10 seconds:
    mqttws device run --connection-string-file device.txt
  A device that asks DPS for its hub, and again if that hub refuses it:
    mqttws device run --id-scope 0ne00ABCDEF --registration-id my-device \\
        --key-file my-device.key
  Against `mqttws serve --with-hub` on this machine, five messages:
    mqttws device run --id-scope 0ne00LOCAL --registration-id my-device \\
        --key-file my-device.key --host 127.0.0.1 --ca DIR/ca.pem \\
        --interval 1 --count 5

\b
With --json, one object in a line for each event:
  event   connected | reconnecting | telemetry | message | method | desired |
          refused

{_EXIT_CODES}"""


@click.group(short_help="A device at its hub: telemetry, methods, twin.")
def device() -> None:
    """Be a device at an IoT hub, the cloud's or a local one."""


@device.command(cls=Command, epilog=_EPILOG)
@click.option(
    "--connection-string-file",
    metavar="FILE",
    help=f"File with the device's connection string; - for stdin.  [default: {VARIABLE}]",
)
@click.option("--id-scope", metavar="SCOPE", help="Ask the DPS instance with this ID scope.")
@option("--hub", HUB_CLIENT, "hub", metavar="NAME", default=None, note="DPS is not asked then.")
@credential_options
@option("--host", HUB_CLIENT, "host", metavar="NAME", callback=check_host, note="DPS's too.")
@option("--port", HUB_CLIENT, "port", metavar="N")
@option("--transport", HUB_CLIENT, "transport", note="auto: whichever is open.")
@proxy_options
@trust_options
@option(
    "--timeout",
    HUB_CLIENT,
    "connect_timeout",
    metavar="SECONDS",
    default=None,
    note="For DPS as a whole too.  [default: 30, for DPS 120]",
)
@click.option(
    "--interval",
    type=click.FloatRange(0.01, 86_400),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between messages.",
)
@click.option(
    "--count",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Leave after so many messages; 0 for never.",
)
@click.option("--body", metavar="TEXT", help="Every message's body.  [default: JSON with a number]")
@json_option("Print one JSON object in a line for each event.")
@debug_option
def run(
    *,
    connection_string_file: str | None,
    id_scope: str | None,
    hub: str | None,
    host: str | None,
    port: int | None,
    transport: Literal["wss", "mqtts", "auto"],
    proxy: str | None,
    tls: mqttws.TlsConfig,
    connect_timeout: float | None,
    interval: float,
    count: int,
    body: str | None,
    as_json: bool,
    **credential: Any,
) -> None:
    """Run a device until Ctrl-C, or until --count messages are confirmed.

    It sends a message each --interval seconds, answers every direct method with
    status 200 and the payload that came, and reports the desired properties that it
    is given. A lost connection and an expiring token are renewed. Without a first
    connection it gives up, after --timeout.
    """
    way = {
        "host": host,
        "port": port,
        "transport": transport,
        "tls": tls,
        "proxy": proxy or "environment",
    }
    text = _connection_string(connection_string_file, bool(id_scope or hub))
    if [text is not None, id_scope is not None, hub is not None].count(True) != 1:
        raise UsageError(
            "a device needs one of --connection-string-file, --id-scope and --hub",
            hint="see 'mqttws device run --help'",
        )
    say = partial(_say, as_json)
    if text is not None:
        make = _by_connection_string(text, way, credential)
    else:
        make = _by_name(id_scope, hub, way, read_credential(**credential), connect_timeout)
    if connect_timeout is not None:
        make = partial(make, connect_timeout=connect_timeout)
    try:
        asyncio.run(_run(make, say, interval, count, body))
    except mqttws.ConnectRefused as error:
        if error.cause is Cause.NOT_AUTHORIZED and host is not None:
            error.hint = "; ".join(filter(None, (error.hint, _NO_HUB)))
        raise


_NO_HUB = "if 'mqttws serve' is there: it serves hubs only with --with-hub"


Say = Callable[..., None]
Make = Callable[..., Any]


def _connection_string(file: str | None, other: bool) -> ConnectionString | None:
    if file is not None:
        text = read_secret(file, "connection string")
        with content_of(file, "connection string"):
            return parse_connection_string(text)
    found = "" if other else os.environ.get(VARIABLE, "")
    return parse_connection_string(found) if found else None


def _by_connection_string(
    text: ConnectionString, way: Mapping[str, Any], credential: Mapping[str, Any]
) -> Make:
    options = {name: value for name, value in way.items() if value is not None}
    shown = read_credential(**credential) if text.x509 else None

    async def make(**more: Any) -> mqttws.AsyncHubClient:
        return mqttws.AsyncHubClient.from_connection_string(text, shown, **options, **more)

    return make


def _by_name(
    id_scope: str | None,
    hub: str | None,
    way: Mapping[str, Any],
    credential: Any,
    timeout: float | None,
) -> Make:
    options = {name: value for name, value in way.items() if value is not None}
    limit: dict[str, Any] = {} if timeout is None else {"timeout": timeout}

    async def provision() -> mqttws.Assignment:
        assert id_scope is not None
        return await mqttws.provision_async(id_scope, credential, **options, **limit)

    async def make(**more: Any) -> mqttws.AsyncHubClient:
        if hub is not None:
            name = credential.registration_id
            return mqttws.AsyncHubClient(hub, name, credential, **options, **more)
        assignment = await provision()
        return assignment.hub_client_async(credential, provisioning=provision, **options, **more)

    return make


async def _run(make: Make, say: Say, interval: float, count: int, body: str | None) -> None:
    def on_state(state: mqttws.ClientState, reason: MqttwsError | None) -> None:
        if state in (mqttws.ClientState.CONNECTED, mqttws.ClientState.RECONNECTING):
            say(state.value, **({"reason": str(reason)} if reason else {}))

    async with AsyncExitStack() as stack:
        client: mqttws.AsyncHubClient = await make(on_state=on_state)

        @client.method()
        async def answer(request: mqttws.MethodRequest) -> Any:
            say("method", name=request.name, payload=request.payload)
            return request.payload

        messages, changes = client.messages(), client.desired_changes()
        await stack.enter_async_context(client)
        works = [
            asyncio.create_task(work)
            for work in (
                _send(client, say, interval, count, body),
                _take(messages, say),
                _follow(client, changes, say),
            )
        ]
        try:
            # Only sending ends by itself; the others end because the client did, with its error.
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in done:
                work.result()
        finally:
            for work in works:
                work.cancel()
            await asyncio.wait(works)


async def _send(
    client: mqttws.AsyncHubClient, say: Say, interval: float, count: int, body: str | None
) -> None:
    number = 0
    while True:
        number += 1
        message = {"number": number, "time": round(time.time(), 3)} if body is None else body
        await client.send_telemetry(message)
        say("telemetry", body=message)
        if number == count:
            return
        await asyncio.sleep(interval)


async def _take(messages: mqttws.CloudMessageStream, say: Say) -> None:
    async for message in messages:
        say(
            "message",
            body=message.body.decode(errors="replace"),
            properties=dict(message.properties),
            message_id=message.message_id,
        )


async def _follow(client: mqttws.AsyncHubClient, changes: mqttws.DesiredChanges, say: Say) -> None:
    async for change in changes:
        say("desired", version=change.version, patch=change.patch)
        if change.patch:
            try:
                await client.patch_reported(change.patch)
            except mqttws.HubRequestRejected as error:
                say("refused", reason=str(error))


def _say(as_json: bool, event: str, **facts: object) -> None:
    if as_json:
        print_json({"event": event, **facts})
    else:
        shown = " ".join(f"{name}={json.dumps(value)}" for name, value in facts.items())
        print_line(f"{event:<12} {shown}".rstrip())
    sys.stdout.flush()
