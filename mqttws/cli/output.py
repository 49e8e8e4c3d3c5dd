"""Output of the commands: lines, steps, JSON; results on standard output, the rest on stderr.

Text from elsewhere (a server's reason, a file's name) is never read as markup, and its control
characters are written out.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Final

import click
from rich.console import Console
from rich.text import Text

from ..client.trace import describe
from ..dps.assignment import RegistrationResult
from ..errors import MqttwsError
from ..hops import Hop
from ..net.hops import Step
from ..text import one_line
from ..wire import Packet

SCHEMA: Final = 1
"""Version of the JSON output; it grows when a member changes its meaning or goes."""

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


def print_json(value: Mapping[str, object], *, schema: int | None = SCHEMA) -> None:
    """Print one JSON object in one line on standard output.

    Args:
        value: the object.
        schema: version of our own output; None for a document of another origin.
    """
    own = {} if schema is None else {"schema": schema}
    with writing(sys.stdout):
        click.echo(json.dumps({**own, **value}))


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


def print_assignment(assignment: RegistrationResult) -> None:
    """Print the result on standard output."""
    for name, value in (
        ("assigned hub", assignment.assigned_hub),
        ("device id", assignment.device_id),
        ("substatus", assignment.substatus or "none given"),
    ):
        _print(Console(), Text(f"{name:<14}").append(one_line(value), "bold green"))


def _print(console: Console, line: Text) -> None:
    # Never wrapped: a line of ours is one line for its reader, human or program.
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
    detail = step.detail
    if step.error is not None:
        detail = step.error.cause.value + (f" ({detail})" if detail else "")
    line.append(one_line(detail), "not dim")
    return line


@contextmanager
def reported(progress: Progress, *, as_json: bool) -> Iterator[None]:
    """With ``as_json``, print an error raised inside as a JSON object, and let it pass on."""
    try:
        yield
    except MqttwsError as error:
        last = progress.steps[-1] if progress.steps else None
        if error.hop is None and last is not None and last.outcome != "ok":
            error.hop = last.hop
        if as_json:
            print_failure(error, progress.to_json())
        raise


_PRINTED = "_printed_as_json"


def print_failure(
    error: MqttwsError,
    steps: Sequence[Mapping[str, object]] = (),
    more: Mapping[str, object] | None = None,
) -> None:
    """Print an error as a JSON object, once: it may be raised on."""
    print_json({**failure(error, steps), **(more or {})})
    error.__dict__[_PRINTED] = True


def is_printed(error: MqttwsError) -> bool:
    """Whether an error has been printed as JSON already."""
    return _PRINTED in error.__dict__


def failure(error: MqttwsError, steps: Sequence[Mapping[str, object]] = ()) -> dict[str, object]:
    """Return an error as JSON has it: the same members for every command, all always there."""
    return {"status": "error", **error.to_json(), "steps": list(steps)}


def success(assignment: RegistrationResult, progress: Progress) -> dict[str, object]:
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
