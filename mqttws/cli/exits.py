"""Exit codes: fixed numbers, the same for every command."""

from typing import Any, Final

import click

from ..errors.base import FAILED, NEVER, USAGE
from ..hops import Hop
from . import INTERRUPTED

SOME_FAILED: Final = 3
"""Of a fleet, some were not assigned, for different reasons."""

_GENERAL = {
    0: "done",
    FAILED: "failed, on no hop; the line on standard error says why and what to do",
    USAGE: "an option or a key is invalid; nothing was sent",
    FAILED + NEVER: "a file is missing, unreadable or damaged, or a disk is full",
    INTERRUPTED: "interrupted with Ctrl-C",
}


def describe_exit_codes(*hops: Hop, **more: str) -> str:
    """Return the part of a help text on exit codes.

    Args:
        hops: those on which the command can fail.
        more: descriptions of further codes, or other descriptions: ``code_3="..."``.
    """
    general = _GENERAL | {int(name.removeprefix("code_")): text for name, text in more.items()}
    lines = [f"  {code:<4} {text}" for code, text in sorted(general.items())]
    if hops:
        lines.append("  the hop on which it failed:")
        lines += [f"  {hop.exit_code:<4} {hop.value}" for hop in hops]
    lines.append(f"  {NEVER} more where the same command cannot succeed later, unchanged")
    return "\n".join(["\b\nExit codes:", *lines, ""])


EXIT_CODES = describe_exit_codes()

ASKING_EXIT_CODES = describe_exit_codes(Hop.NAME, Hop.TCP, Hop.TLS)
"""Of commands that ask a running service over HTTP."""


class Command(click.Command):
    """A command that ends quietly on Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
