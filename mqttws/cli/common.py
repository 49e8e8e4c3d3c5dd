"""What the commands share: options, keys from files, step lines, errors in one line.

Results go to standard output, everything else to standard error. Text from elsewhere (a server's
reason, a file's name) is never read as markup, and its control characters are written out.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path
from typing import IO, Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from ..client.trace import describe
from ..dps.assignment import Assignment
from ..dps.json_text import parse_json
from ..errors import MqttwsError, UsageError
from ..hops import Hop
from ..net.hops import Step
from ..provisioning.symmetric_key import SymmetricKey
from ..provisioning.x509 import X509Certificate
from ..text import one_line
from ..wire import Packet
from . import INTERRUPTED

FAILED = 1
"""Exit code: it was tried, and did not come about."""

USAGE = 2
"""Exit code: an option, a key, a file or a port cannot be right."""

EXIT_CODES = """\b
Exit codes:
  0    done
  1    tried and failed; the line on standard error says why and what to do
  2    an option, a key, a file or a port cannot be right; nothing was sent
  130  interrupted with Ctrl-C
"""

KEY_VARIABLE = "MQTTWS_KEY"
"""The environment variable that can hold a key."""

KEY_PASSWORD_VARIABLE = "MQTTWS_KEY_PASSWORD"  # noqa: S105 - a name
"""The environment variable that can hold the password of a private key."""

MAX_FILE_SIZE = 4 * 1024 * 1024
"""Bytes of the largest file that is read; nothing that we are given is longer."""

_LABELS = {
    Hop.PROXY_NAME: "proxy name",
    Hop.PROXY_TCP: "proxy TCP",
    Hop.PROXY_TLS: "proxy TLS",
    Hop.NAME: "name",
    Hop.TCP: "TCP",
    Hop.PROXY: "proxy",
    Hop.TLS: "TLS",
    Hop.UPGRADE: "upgrade",
    Hop.CONNECT: "CONNECT",
    Hop.SUBSCRIBE: "SUBSCRIBE",
    Hop.REGISTER: "register",
    Hop.POLL: "poll",
}

_F = TypeVar("_F", bound=Callable[..., Any])


class Command(click.Command):
    """A command that ends quietly on Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


# Options


def check_host(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:  # click's own signature
    """Return a host without the brackets that an IPv6 address may stand in."""
    if value is None:
        return None
    host = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if not host or not host.isprintable() or any(c in " /?#@[]\\%" for c in host):
        raise click.BadParameter("allowed: a name or an address, nothing around it")
    return host


def json_option(text: str) -> Callable[[_F], _F]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def credential_options(command: _F) -> _F:
    """Add the options that say who a device is; ``read_credential`` takes them."""
    for option in reversed(_CREDENTIAL_OPTIONS):
        command = option(command)
    return command


_CREDENTIAL_OPTIONS = (
    click.option(
        "--registration-id",
        metavar="ID",
        help="The device's name at DPS, as it is enrolled.  [default with --cert: its common name]",
    ),
    click.option(
        "--key-file",
        metavar="FILE",
        help="File with the device's symmetric key, base64; - for standard input.",
    ),
    click.option(
        "--group-key",
        is_flag=True,
        help="The key is the enrollment group's: derive the device's key from it.",
    ),
    click.option(
        "--cert",
        metavar="FILE",
        help="PEM file with the device's certificate and those above it, in place of a key.",
    ),
    click.option(
        "--cert-key",
        metavar="FILE",
        help="PEM file with the certificate's private key.  [default: the file of --cert]",
    ),
    click.option(
        "--cert-key-password-file",
        metavar="FILE",
        help="File with the password of an encrypted private key; - for standard input.",
    ),
)


def debug_option(command: _F) -> _F:
    """Add ``--debug``, which takes effect at once."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_log_everything,
        help="Log everything on standard error, tracebacks too. Secrets are never shown.",
    )(command)


def _log_everything(
    ctx: click.Context, parameter: click.Parameter, value: bool
) -> None:  # click's own signature
    if value:
        log_to_stderr(logging.getLogger(), logging.DEBUG)


class _OneLine(logging.Formatter):
    """Keeps a log record in one line, whatever a peer put into it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))


def log_to_stderr(logger: logging.Logger, level: int) -> None:
    """Write what ``logger`` is told, and nothing twice, to standard error."""
    handler = logging.StreamHandler()
    with_names = "%(levelname)s %(name)s: " if level < logging.INFO else ""
    handler.setFormatter(_OneLine(f"%(asctime)s {with_names}%(message)s", "%H:%M:%S"))
    if not logging.getLogger().hasHandlers():
        logger.addHandler(handler)
    if not logger.isEnabledFor(level):
        logger.setLevel(level)


def read_key(key_file: str | None) -> str:
    """Return the key's text from a file, from standard input (``-``), or from the environment.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    if key_file is None:
        key = os.environ.get(KEY_VARIABLE, "")
        source = KEY_VARIABLE
    elif key_file == "-" and sys.stdin is not None and sys.stdin.isatty():
        key = getpass("Key (not shown): ")
        source = "what was typed"
    else:
        key = read_file(key_file, "key file")
        source = "standard input" if key_file == "-" else f"the key file {key_file}"
    if not key.strip():
        found = "no key" if key_file is None else f"{source}: it is empty"
        raise UsageError(
            found, hint=f"name a file with --key-file (- for standard input), or set {KEY_VARIABLE}"
        )
    return key.strip()


def read_key_password(file: str | None) -> str | None:
    """Return a private key's password from a file, or from the environment; None for none.

    Only the line's end is taken off: blanks may be part of a password.

    Raises:
        UsageError: it cannot be read.
    """
    if file is None:
        return os.environ.get(KEY_PASSWORD_VARIABLE) or None
    if file == "-" and sys.stdin is not None and sys.stdin.isatty():
        return getpass("Password of the private key (not shown): ")
    return read_file(file, "password file").rstrip("\r\n")


def read_credential(
    *,
    registration_id: str | None,
    key_file: str | None,
    group_key: bool,
    cert: str | None,
    cert_key: str | None,
    cert_key_password_file: str | None,
) -> SymmetricKey | X509Certificate:
    """Return the credential that ``credential_options`` describe.

    Raises:
        UsageError: they contradict each other, or a file cannot be read or used.
    """
    if cert is not None:
        if key_file is not None or group_key:
            raise UsageError("a device has a key or a certificate, not both")
        password = read_key_password(cert_key_password_file)
        return read_certificate(cert, cert_key, registration_id, password)
    if cert_key is not None or cert_key_password_file is not None:
        raise UsageError("--cert-key without --cert: name the certificate's file")
    if registration_id is None:
        raise UsageError("a key without --registration-id: name the device")
    build = SymmetricKey.from_group_key if group_key else SymmetricKey
    return build(registration_id, read_key(key_file))


def read_certificate(
    chain: str, key: str | None, registration_id: str | None, password: str | None
) -> X509Certificate:
    """Return a credential from PEM files; the key may stand in the chain's.

    Raises:
        UsageError: a file cannot be read, or the two do not make a credential.
    """
    return X509Certificate(
        chain, key or chain, registration_id=registration_id, key_password=password
    )


def read_json(file: str, what: str) -> Any:
    """Return the value in a JSON file, or on standard input (``-``).

    Raises:
        UsageError: it cannot be read; says where in the file.
    """
    text = read_file(file, what)
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        fault = f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
    except ValueError as error:
        fault = f"not JSON: {error}"
    raise UsageError(f"{what} {file}: {fault}")  # out here: the other exception holds the text


def read_file(file: str, what: str) -> str:
    """Return a file's text, or that of standard input (``-``).

    Raises:
        UsageError: it cannot be read, is not UTF-8, or is longer than anything we would use.
    """
    try:
        if file == "-":
            # A closed standard input is as good as an empty one.
            data = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_FILE_SIZE + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MAX_FILE_SIZE + 1)
        if len(data) <= MAX_FILE_SIZE:
            return data.decode("utf-8-sig")
        fault = f"longer than {MAX_FILE_SIZE} bytes"
    except OSError as error:
        fault = error.strerror or "it cannot be read"
    except UnicodeDecodeError:
        fault = "not UTF-8 text"
    except ValueError:  # a name with a NUL in it
        fault = "not a file's name"
    raise UsageError(f"{what} {file}: {fault}")


# Output


def print_json(value: Mapping[str, object]) -> None:
    """Print one JSON object in one line on standard output."""
    with writing(sys.stdout):
        click.echo(json.dumps(value))


def print_error(message: str, hint: str = "") -> None:
    """Print an error in one line on standard error."""
    if hint:
        message = message.rstrip(".")
    line = Text("mqttws: ", "bold red").append(one_line(message), "not bold default")
    if hint:
        line.append("; ").append(one_line(hint), "not bold cyan")
    _print(Console(stderr=True), line)


def print_line(text: str = "", style: str = "", *, err: bool = False) -> None:
    """Print one line, in a style where there is a terminal."""
    _print(Console(stderr=err), Text(one_line(text), style))


def print_assignment(assignment: Assignment) -> None:
    """Print what came of it on standard output."""
    for name, value in (
        ("assigned hub", assignment.assigned_hub),
        ("device id", assignment.device_id),
        ("substatus", assignment.substatus or "none given"),
    ):
        _print(Console(), Text(f"{name:<14}").append(one_line(value), "bold green"))


def _print(console: Console, line: Text) -> None:
    # Never wrapped: a line of ours is one line for whoever reads it, human or program.
    with writing(console.file):
        console.print(line, soft_wrap=True, highlight=False)


@contextmanager
def writing(stream: IO[str]) -> Iterator[None]:
    """Turn what can go wrong with our output into an error of ours; a broken pipe is click's."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        # What waits in the stream is lost; Python would try it again at the end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise MqttwsError(
            f"the output cannot be written: {error.strerror}", hint="see where it is sent to"
        ) from error


class Progress:
    """Collects the steps of a walk, and prints each as soon as it has ended.

    Args:
        shown: whether steps are printed.
        err: whether to standard error.
    """

    def __init__(self, *, shown: bool, err: bool) -> None:
        self.steps: list[Step] = []
        self._shown = shown
        self._err = err

    def on_step(self, step: Step) -> None:
        """Take a step that begins or has ended."""
        if step.ended is None:
            self.steps.append(step)
        elif self._shown:
            _print(Console(stderr=self._err), _step_line(step))

    def on_packet(self, direction: str, packet: Packet) -> None:
        """Print a packet that was sent or received, without what is secret in it."""
        style = "cyan" if direction == ">" else "magenta"
        print_line(f"{direction} {describe(packet)}", style, err=True)

    @property
    def hop(self) -> str | None:
        """The last hop that was begun."""
        return self.steps[-1].name if self.steps else None

    def to_json(self) -> list[dict[str, str | float]]:
        """Return the steps as JSON has them."""
        return [step.to_json() for step in self.steps]


STEP_HEADER = "       at      took  step"


def _step_line(step: Step) -> Text:
    ended = step.ended or 0.0
    took = step.seconds * 1000
    line = Text(f"{ended:7.3f} s {took:6.0f} ms  ", "dim")
    line.append(f"{_LABELS[step.hop]:<11}", "not dim bold red" if step.error else "not dim bold")
    detail = f"{step.outcome} ({step.detail})" if step.error else step.detail
    line.append(one_line(detail), "not dim")
    return line


@contextmanager
def reported(progress: Progress, *, as_json: bool) -> Iterator[None]:
    """With ``as_json``, print an error raised inside as a JSON object, and let it pass on."""
    try:
        yield
    except MqttwsError as error:
        if as_json:
            print_json(_failure(error, progress))
        raise


_FACTS = ("status", "reason", "return_code", "error_code", "tracking_id", "state", "close_code")
"""What errors know besides their sentence, under the names of their attributes."""


def _failure(error: MqttwsError, progress: Progress) -> dict[str, object]:
    facts = {name: getattr(error, name) for name in _FACTS if hasattr(error, name)}
    hop = getattr(error, "hop", None)
    return {
        "status": "error",
        "error": type(error).__name__,
        "message": str(error),
        "hint": error.hint,
        "hop": hop.value if isinstance(hop, Hop) else progress.hop,
        "facts": facts,
        "steps": progress.to_json(),
    }


def success(assignment: Assignment, progress: Progress) -> dict[str, object]:
    """Return an assignment as JSON has it."""
    return {
        "status": "assigned",
        "assigned_hub": assignment.assigned_hub,
        "device_id": assignment.device_id,
        "substatus": assignment.substatus,
        "registration_id": assignment.registration_id,
        "operation_id": assignment.operation_id,
        "payload": assignment.payload,
        "created": assignment.created,
        "last_updated": assignment.last_updated,
        "etag": assignment.etag,
        "steps": progress.to_json(),
    }
