"""Options of commands that stand for options of a call: sentence, default and allowed values.

All of it is the call's table's (``options``); a command adds a note where a shell has more to say.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..options import REQUIRED, Option, Table
from ..text import shown

_F = TypeVar("_F", bound=Callable[..., Any])

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic in newer releases only

_TABLE = object()


class Value(_ParamType):
    """A value that an option of a table allows: a whole number, a number, or text."""

    name = "value"

    def __init__(self, option: Option) -> None:
        self.option = option

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:  # click's own signature
        """Return the value; refuse one that is not allowed."""
        if not isinstance(value, str):
            return value
        for kind in (int, float, str):
            try:
                found = kind(value)
            except ValueError:
                continue
            if self.option.allows(found):
                return found
        allowed = self.option.allowed.removesuffix(" or None").removesuffix(",")
        return self.fail(f"{shown(value)}; allowed: {allowed}", param, ctx)


class TableOption(click.Option):
    """A command's option that stands for one of a table.

    Attributes:
        option: the table's.
    """

    option: Option


def option(
    flag: str,
    table: Table,
    name: str,
    *,
    metavar: str | None = None,
    note: str = "",
    default: object = _TABLE,
    callback: Callable[..., Any] | None = None,
    multiple: bool = False,
) -> Callable[[_F], _F]:
    """Add an option for ``name`` of a table; the command gets it under that name.

    Args:
        flag: such as ``--port``.
        table: of the call that the command makes.
        name: of the option in the table.
        metavar: for the help text.
        note: what the help text says behind the table's sentence.
        default: another one than the table's, where a command has good reason.
        callback: click's.
        multiple: whether it can be repeated.
    """
    known = table[name]
    own = known.default if default is _TABLE else default
    settings: dict[str, Any] = {"help": f"{known.sentence} {note}".rstrip(), "callback": callback}
    if own is False:
        settings |= {"is_flag": True, "default": False}
    else:
        settings |= {
            "type": click.Choice(known.choices) if known.choices else Value(known),
            "metavar": metavar,
            "required": own is REQUIRED,
            "multiple": multiple,
        }
        if own is not REQUIRED:
            settings |= {
                "default": own,
                "show_default": own not in (None, "") and not callable(own),
            }

    def made(*arguments: Any, **more: Any) -> TableOption:
        new = TableOption(*arguments, **more)
        new.option = known
        return new

    return click.option(flag, name, cls=made, **settings)  # type: ignore[arg-type]


def members_of(table: Table, *others: str) -> Callable[[_F], _F]:
    """Add an option for each of a table's but ``others``; the command gets None for one not given.

    For orders whose kinds have different members: a default would be a member that was not given.
    """
    letters = {
        "seconds": "S",
        "retry_after": "S",
        "probability": "P",
        "message": "TEXT",
        "body": "TEXT",
    }

    def add(command: _F) -> _F:
        for name in reversed([name for name in table if name not in others]):
            flag = f"--{name.replace('_', '-')}"
            metavar = None if table[name].choices else letters.get(name, "N")
            command = option(flag, table, name, metavar=metavar, default=None)(command)
        return command

    return add


def given(members: Mapping[str, object]) -> dict[str, object]:
    """Return the options that were given."""
    return {name: value for name, value in members.items() if value is not None}


def read_variables(command: click.Command, prefix: str) -> None:
    """Let each option of a command be given by an environment variable too.

    Args:
        command: whose options.
        prefix: of the variables; the flag follows: ``PREFIX_WSS_PORT`` for ``--wss-port``.
    """
    for parameter in command.params:
        flag = next((known for known in parameter.opts if known.startswith("--")), None)
        if isinstance(parameter, click.Option) and flag not in (None, "--help"):
            parameter.envvar = f"{prefix}_{flag.removeprefix('--').replace('-', '_').upper()}"
