"""Shared parts of ``publish`` and ``subscribe``: a connection's options, and how it may end.

Knows a client's arguments under the names that a shell has for them. Does not know what is sent.
"""

import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from getpass import getpass
from typing import Any, TypeVar

import click

import mqttws

from ..errors import MqttwsError, UsageError
from ..hops import Hop
from ..net.proxy import ENVIRONMENT
from ..net.proxy_url import has_login
from ..options import CLIENT, PUBLISH
from .exits import describe_exit_codes
from .files import read_secret
from .network import proxy_options, trust_options
from .output import Progress, print_line
from .table import option

PASSWORD_VARIABLE = "MQTTWS_PASSWORD"  # noqa: S105 - a variable's name
"""The environment variable that can hold a password."""

SECRETS = """\b
Secrets: no option takes a password, for other users could see it in the list
of processes. With --username it comes from
  --password-file FILE  a file that only its owner can read
  --password-file -     standard input; a terminal does not show what is typed
  MQTTWS_PASSWORD       the environment, if there is no --password-file
"""

EXIT_CODES = describe_exit_codes(*(hop for hop in Hop if hop not in (Hop.REGISTER, Hop.POLL)))

ENVIRONMENT_VARIABLES = """\b
Environment:
  MQTTWS_PASSWORD  the password, if there is no --password-file
  MQTTWS_PROXY     a proxy's URL, with its login; then wss_proxy, https_proxy
                   and all_proxy count; no_proxy says who needs none
  SSL_CERT_FILE    a PEM file with CA certificates, in place of the system's
  NO_COLOR         if set, nothing is coloured
"""

_F = TypeVar("_F", bound=Callable[..., Any])


def _check_url(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if has_login(value):
        raise click.BadParameter(
            "other users could see the login in the list of processes; give --username, and the"
            f" password in {PASSWORD_VARIABLE}"
        )
    return value


def qos_option(text: str) -> Callable[[_F], _F]:
    """Add ``--qos``."""
    return option("--qos", PUBLISH, "qos", metavar="0|1|2", note=text)


_CONNECTION = (
    click.argument("url", callback=_check_url),
    option(
        "--client-id", CLIENT, "client_id", metavar="ID", note="[default: the server chooses one]"
    ),
    option("--username", CLIENT, "username", metavar="NAME", note="Its password: see below."),
    click.option("--password-file", metavar="FILE", help="File with the password; - for stdin."),
    trust_options,
    click.option("--client-cert", metavar="FILE", help="PEM file with this client's certificate."),
    click.option("--client-key", metavar="FILE", help="Its key, if that is in another file."),
    proxy_options,
    option(
        "--keep-alive",
        CLIENT,
        "keep_alive",
        metavar="SECONDS",
        note="A dead link is noticed within them; 0: never.",
    ),
    click.option("--will-topic", metavar="TOPIC", help="Topic of the will message."),
    click.option(
        "--will-payload", metavar="TEXT", help="Payload of the will message.  [default: empty]"
    ),
    click.option(
        "--will-qos", type=click.IntRange(0, 2), default=0, metavar="0|1|2", help="QoS of the will."
    ),
    click.option("--will-retain", is_flag=True, help="The server keeps the will message."),
    click.option(
        "--steps/--no-steps",
        default=None,
        help="Print each step to the server, on standard error.  [default: if it is a terminal]",
    ),
    click.option(
        "--trace", is_flag=True, help="Print each packet too: > sent, < received; no secrets."
    ),
)


def connection_options(command: _F) -> _F:
    """Add the server's URL and everything that says how to connect to it."""
    for add in reversed(_CONNECTION):
        command = add(command)
    return command


def make_progress(*, steps: bool | None, trace: bool, **_: Any) -> Progress:
    """Return what the steps are printed by."""
    shown = (trace or sys.stderr.isatty()) if steps is None else steps
    return Progress(shown=shown, err=True)


def make_client(
    url: str,
    progress: Progress,
    *,
    client_id: str,
    username: str | None,
    password_file: str | None,
    tls: mqttws.TlsConfig,
    client_cert: str | None,
    client_key: str | None,
    proxy: str | None,
    keep_alive: int,
    will_topic: str | None,
    will_payload: str | None,
    will_qos: int,
    will_retain: bool,
    steps: bool | None,
    trace: bool,
    **options: Any,
) -> mqttws.Client:
    """Return a client, not connected yet, from what the command line says.

    Args:
        url: of the server.
        progress: prints the steps.
        options: further arguments of ``mqttws.Client``.

    Raises:
        UsageError: an option or a file is invalid.
    """
    will = None
    if will_topic is not None:
        will = mqttws.Will(will_topic, os.fsencode(will_payload or ""), will_qos, will_retain)
    elif will_payload is not None or will_qos or will_retain:
        raise UsageError("a will needs --will-topic too")
    if password_file is not None and username is None:
        raise UsageError("--password-file needs --username too")
    if client_key is not None and client_cert is None:
        raise UsageError("--client-key needs --client-cert too")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client = mqttws.Client(
            url,
            client_id=client_id,
            username=username,
            password=None if username is None else read_password(password_file),
            tls=replace(tls, certificate=client_cert, key=client_key),
            proxy=proxy or ENVIRONMENT,
            keep_alive=keep_alive,
            will=will,
            on_step=progress.on_step,
            on_packet=progress.on_packet if trace else None,
            on_state=_StateLines(),
            **options,
        )
    for warning in caught:
        print_line(f"mqttws: warning: {warning.message}", "yellow", err=True)
    return client


def takes_stdin(*, password_file: str | None, **_: Any) -> bool:
    """Tell whether the password comes from standard input."""
    return password_file == "-"  # noqa: S105 - a name, not a password


def read_password(password_file: str | None) -> str | None:
    """Return the password from a file, standard input (``-``) or the environment; None for none.

    Raises:
        UsageError: the file cannot be read.
    """
    if password_file is None:
        return os.environ.get(PASSWORD_VARIABLE)
    if takes_stdin(password_file=password_file) and sys.stdin is not None and sys.stdin.isatty():
        return getpass("Password (not shown): ")
    return read_secret(password_file, "password file").rstrip("\r\n")


class _StateLines:
    """Says on standard error that a connection was lost, and that there is one again."""

    def __init__(self) -> None:
        self._lost = False

    def __call__(self, state: mqttws.ClientState, reason: MqttwsError | None) -> None:
        if state is mqttws.ClientState.RECONNECTING:
            self._lost = True
            print_line(f"mqttws: {reason}; connecting again", "yellow", err=True)
        elif state is mqttws.ClientState.CONNECTED and self._lost:
            self._lost = False
            print_line("mqttws: connected again", "green", err=True)
