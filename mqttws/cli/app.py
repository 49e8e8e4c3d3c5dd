"""The commands under one name, and how any of them ends: its exit code and its one line.

Does not know what a command does.
"""

import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Final

import click

from .. import __version__
from ..errors import MqttwsError, UsageError
from ..errors.base import USAGE
from . import INTERRUPTED
from .exits import EXIT_CODES
from .output import failure, is_printed, print_error, print_json

logger: logging.Logger = logging.getLogger("mqttws.cli")
"""The tracebacks of expected errors, at level DEBUG; shown with ``--debug``."""


COMMANDS: Final = {
    "demo": "demo:demo",
    "provision": "provision:provision",
    "doctor": "doctor:doctor",
    "provision-fleet": "fleet:provision_fleet_command",
    "serve": "serve:serve",
    "publish": "publish:publish",
    "subscribe": "subscribe:subscribe",
    "enroll": "enroll:enroll",
    "fault": "fault:fault",
    "derive-key": "enroll:derive_key",
    "hub": "hub:hub",
    "device": "device:device",
}
"""Each command's file and function. Only the file of the command that runs is imported: a small
device that provisions does not wait for the local services' code."""


class Commands(click.Group):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in alphabetical order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        file, function = COMMANDS[cmd_name].split(":")
        found = getattr(import_module(f".{file}", __package__), function)
        assert isinstance(found, click.Command)
        return found


_EPILOG = f"""\b
Examples:
  See the whole job on this machine, nothing else needed:
    mqttws demo
  How a device is provisioned, and where its key comes from:
    mqttws provision --help
  Which hop refuses, and what to do about it:
    mqttws doctor global.azure-devices-provisioning.net
  A local DPS to develop and test against:
    mqttws serve --wss-port 0 --mqtts-port 0
  Messages to and from any MQTT 3.1.1 server:
    mqttws publish wss://broker.example/mqtt sensors/a --payload 21.5
    mqttws subscribe wss://broker.example/mqtt 'sensors/#'

{EXIT_CODES}"""


@click.group(
    cls=Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(
    __version__, "-V", "--version", prog_name="mqttws", message="%(prog)s %(version)s"
)
def app() -> None:
    """Azure IoT device provisioning (DPS) over MQTT 3.1.1, WebSocket and TLS.

    A device behind a firewall that lets only port 443 through opens a WebSocket,
    speaks MQTT in it, registers with DPS, and learns its IoT hub and device id.
    The other end is here too: a local DPS with real TLS and real credential
    checks, so that all of it runs without a cloud account.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an expected error is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a hub's name must not fail in an ASCII terminal
            stream.reconfigure(errors="backslashreplace")
    try:
        found = app.main(list(arguments) or ["--help"], prog_name="mqttws", standalone_mode=False)
    except MqttwsError as error:
        logger.debug("the command failed", exc_info=error)
        with suppress(MqttwsError):  # there may be nothing to write to
            print_error(str(error), error.hint)
            if "--json" in arguments and not is_printed(error):
                print_json(failure(error))
        return error.exit_code
    except click.ClickException as error:
        return _refuse(error, as_json="--json" in arguments)
    except click.Abort:  # Ctrl-C while the arguments were read
        return INTERRUPTED
    return found if isinstance(found, int) else 0


def _refuse(error: click.ClickException, *, as_json: bool) -> int:
    """Say in one line what is wrong with a command line."""
    context = getattr(error, "ctx", None)
    hint = f"see '{context.command_path if context else 'mqttws'} --help'"
    message = error.format_message().rstrip(".")
    if as_json:
        print_json(failure(UsageError(message, hint=hint)))
    print_error(message, hint)
    return USAGE
