"""``mqttws subscribe``: prints the messages of topic filters as they come.

Knows the options and the lines. What happens then is ``mqttws.Client``: its connection lives in a
thread of its own, so that a slow reader of our output holds up nothing but the messages.
"""

import sys
import time
from base64 import b64encode
from typing import Any

import click

import mqttws

from ..errors import MqttwsError, RequestTimedOut, UsageError
from ..text import one_line
from ..wire import Subscribe, Subscription
from .common import debug_option, json_option
from .connecting import (
    ENVIRONMENT_VARIABLES,
    EXIT_CODES,
    SECRETS,
    connection_options,
    make_client,
    make_progress,
    qos_option,
)
from .exits import Command
from .output import print_json, print_line, reported, writing

_EPILOG = f"""\b
Examples:
  Everything below a topic, each payload with its topic:
    mqttws subscribe wss://broker.example/mqtt 'sensors/#' --verbose
  One value into a script, or give up after ten seconds:
    value=$(mqttws subscribe wss://broker.example/mqtt sensors/a \\
        --count 1 --timeout 10)
  What came while this was not connected, and nothing lost when it is stopped:
    mqttws subscribe mqtts://broker.example 'orders/#' --qos 1 \\
        --client-id orders-reader --persistent --json

\b
With --json, an object a line on standard output:
  topic, qos, retain, dup, and payload; payload_base64 where it is not UTF-8
  if it fails, a last one: status "error", error, message, hint, hop, facts,
  steps

{SECRETS}
{EXIT_CODES}

{ENVIRONMENT_VARIABLES}"""


@click.command(cls=Command, epilog=_EPILOG)
@connection_options
@click.argument("filters", metavar="FILTER...", nargs=-1, required=True)
@qos_option("The highest QoS that messages are to be sent with.")
@click.option(
    "--count", type=click.IntRange(1), metavar="N", help="End after N messages.  [default: never]"
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 10_000_000, min_open=True),
    metavar="SECONDS",
    help="End after so long; a failure if --count was not reached.  [default: never]",
)
@click.option("--verbose", "-v", is_flag=True, help="Print the topic and a blank before a payload.")
@json_option("Print each message as a JSON object in one line.")
@click.option(
    "--persistent",
    is_flag=True,
    help="Let the server keep the session when this ends; needs --client-id.",
)
@debug_option
def subscribe(
    *,
    url: str,
    filters: tuple[str, ...],
    qos: int,
    count: int | None,
    timeout: float | None,
    verbose: bool,
    as_json: bool,
    persistent: bool,
    **connection: Any,
) -> None:
    """Print what is published to topics that match FILTER at the MQTT 3.1.1 server with this URL.

    The URL is wss://host/path, mqtts://host, or ws:// and mqtt:// without TLS. Each
    payload is printed as it is (on a terminal with control characters written out),
    and a line end after it. A message of QoS 1 or 2 is
    acknowledged when it has been printed. A connection that is lost is renewed; a
    line on standard error says so. Ends with Ctrl-C, --count or --timeout.
    """
    progress = make_progress(**connection)
    with reported(progress, as_json=as_json):
        if persistent and not connection["client_id"]:
            raise UsageError("--persistent needs --client-id too: the session is kept under it")
        subscriptions = [(topic_filter, qos) for topic_filter in filters]
        Subscribe(1, [Subscription(*one) for one in subscriptions]).encode()  # faults come at once
        client = make_client(
            url, progress, clean_session=not persistent, manual_ack=True, **connection
        )
        until = None if timeout is None else time.monotonic() + timeout
        with client:
            answers = client.subscribe(subscriptions)
            for (topic_filter, _), granted in zip(subscriptions, answers, strict=True):
                if granted < qos:
                    told = f"mqttws: {topic_filter!r}: QoS {qos} wanted, {granted} granted"
                    print_line(told, "yellow", err=True)
            _print_messages(client, count, timeout, until, verbose=verbose, as_json=as_json)


def _print_messages(
    client: mqttws.Client,
    count: int | None,
    timeout: float | None,
    until: float | None,
    *,
    verbose: bool,
    as_json: bool,
) -> None:
    """Print messages, ``count`` of them, until the time is over.

    Raises:
        RequestTimedOut: there were fewer.
    """
    messages = client.messages()
    printed = 0
    while count is None or printed < count:
        left = None if until is None else max(0.0, until - time.monotonic())
        try:
            message = messages.next(left)
        except RequestTimedOut:
            if count is None:
                return
            raise RequestTimedOut(
                f"{printed} of {count} messages came within {timeout:g} s",
                hint="see that a client publishes to a topic that matches",
            ) from None
        except StopIteration:
            raise MqttwsError("the client was disconnected") from None
        _print_message(message, verbose=verbose, as_json=as_json)
        message.ack()
        printed += 1


def _print_message(message: mqttws.ReceivedMessage, *, verbose: bool, as_json: bool) -> None:
    if as_json:
        print_json(to_json(message))
        return
    topic = one_line(message.topic).encode() + b" " if verbose else b""
    payload = message.payload
    if sys.stdout.isatty():  # a publisher must not write on the terminal, nor forge a line
        payload = one_line(payload.decode("utf-8", "backslashreplace")).encode()
    with writing(sys.stdout):
        sys.stdout.buffer.write(b"%b%b\n" % (topic, payload))
        sys.stdout.buffer.flush()


def to_json(message: mqttws.ReceivedMessage) -> dict[str, object]:
    """Return a message as JSON has it."""
    found: dict[str, object] = {
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        "dup": message.dup,
    }
    try:
        found["payload"] = message.payload.decode()
    except UnicodeDecodeError:
        found["payload_base64"] = b64encode(message.payload).decode()
    return found
