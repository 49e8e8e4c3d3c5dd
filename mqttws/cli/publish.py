"""``mqttws publish``: one message, or one for each line that comes.

Knows the options. What happens then is ``mqttws.Client``.
"""

import io
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any

import click

import mqttws

from ..client.sync_results import SyncReceipt
from ..errors import QueueFull, UsageError, unreadable_file
from ..wire import Publish
from .common import debug_option, json_option
from .connecting import (
    ENVIRONMENT_VARIABLES,
    EXIT_CODES,
    SECRETS,
    connection_options,
    make_client,
    make_progress,
    qos_option,
    takes_stdin,
)
from .exits import Command
from .files import check_name
from .output import print_json, reported

MAX_PAYLOAD = 268_435_455
"""Bytes of the largest packet that MQTT has (section 2.2.3); more is not read."""

IN_FLIGHT = 100
"""Lines that may be on their way at a time."""

_EPILOG = f"""\b
Examples:
  One message, taken over by the server when the command ends:
    mqttws publish wss://broker.example/mqtt sensors/a --payload 21.5 --qos 1
  A file's bytes, kept for later subscribers; an empty one clears it again:
    mqttws publish wss://broker.example/mqtt maps/hall --retain \\
        --file hall.png
    mqttws publish wss://broker.example/mqtt maps/hall --retain --payload ""
  Each line of a log as it is written:
    tail -f app.log | mqttws publish mqtts://broker.example logs/app --lines

{SECRETS}
{EXIT_CODES}

{ENVIRONMENT_VARIABLES}"""


@click.command(cls=Command, epilog=_EPILOG)
@connection_options
@click.argument("topic")
@click.option("--payload", metavar="TEXT", help="The message, as UTF-8.")
@click.option("--file", metavar="FILE", help="The message is in this file; - for standard input.")
@click.option("--lines", is_flag=True, help="Each line is a message, without its line end.")
@qos_option("0 at most once, 1 at least once, 2 exactly once.")
@click.option("--retain", is_flag=True, help="The server keeps it for later subscribers.")
@click.option(
    "--timeout",
    type=click.IntRange(1, 86_400),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Time for connecting, and for the answer to each message.",
)
@json_option("Print the outcome as one JSON object: status, steps; or an error.")
@debug_option
def publish(
    *,
    url: str,
    topic: str,
    payload: str | None,
    file: str | None,
    lines: bool,
    qos: int,
    retain: bool,
    timeout: int,
    as_json: bool,
    **connection: Any,
) -> None:
    """Publish to TOPIC at the MQTT 3.1.1 server with this URL.

    The URL is wss://host/path, mqtts://host, or ws:// and mqtt:// without TLS. The
    message is --payload, or --file, or else what standard input holds. With QoS 1
    and 2 the command ends when the server has taken it over; a connection that is
    lost meanwhile is renewed, and the message sent again.
    """
    if payload is not None and (file is not None or lines):
        raise UsageError("--payload is a message by itself; allowed: it, or --file and --lines")
    from_stdin = payload is None and file in (None, "-")
    if from_stdin and takes_stdin(**connection):
        raise UsageError("password and message cannot both come from standard input")
    if from_stdin and not lines and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError(
            "no message", hint="give --payload, --file or --lines, or send it to standard input"
        )
    progress = make_progress(**connection)
    with reported(progress, as_json=as_json), ExitStack() as opened:
        source = None if payload is not None else _open(file, opened)
        message = os.fsencode(payload) if payload is not None else b""
        if source is not None and not lines:
            message = source.read(MAX_PAYLOAD + 1)
        # A broken rule is reported before anything is opened.
        Publish(topic, message, qos, retain, packet_id=1 if qos else None).encode()
        client = make_client(
            url, progress, connect_timeout=timeout, request_timeout=timeout, **connection
        )
        opened.enter_context(client)
        if source is not None and lines:
            send = partial(_send, client, topic, qos=qos, retain=retain)
            _publish_lines(send, source, timeout)
        else:
            client.publish(topic, message, qos=qos, retain=retain)

    if as_json:
        print_json({"status": "ok", "steps": progress.to_json()})


def _open(file: str | None, opened: ExitStack) -> IO[bytes]:
    """Open a file, or standard input."""
    if file in (None, "-"):
        # A closed standard input is as good as an empty one.
        return io.BytesIO() if sys.stdin is None else sys.stdin.buffer
    assert file is not None
    check_name(file, "file")
    try:
        return opened.enter_context(Path(file).open("rb"))
    except OSError as error:
        raise unreadable_file(f"file {file}: {error.strerror}", file, error) from None


def _send(
    client: mqttws.Client, topic: str, line: bytes, *, qos: int, retain: bool
) -> SyncReceipt | None:
    """Publish without waiting, but for a full outbox; return what is to be waited for."""
    try:
        return client.publish_nowait(topic, line, qos=qos, retain=retain)
    except QueueFull:
        client.publish(topic, line, qos=qos, retain=retain)
        return None


def _publish_lines(
    send: Callable[[bytes], SyncReceipt | None], source: IO[bytes], timeout: float
) -> None:
    """Publish each line as it comes, many of them on their way at a time."""
    under_way: deque[SyncReceipt] = deque()
    for line in _lines(source):
        if len(under_way) >= IN_FLIGHT:
            under_way.popleft().wait(timeout)
        if (receipt := send(line)) is not None:
            under_way.append(receipt)
    for receipt in under_way:
        receipt.wait(timeout)


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    while line := source.readline(MAX_PAYLOAD + 1):
        yield line.removesuffix(b"\n").removesuffix(b"\r")
