"""Option and Table: the pieces of which each call's table is made."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ..errors import UsageError
from ..text import SHOWN_LENGTH

Test = Callable[[Any], bool]

MAX_SECONDS: Final = 1e9
"""Seconds: no time limit and no wait may be longer, which is 31 years."""

REQUIRED: Final = object()
"""The default of an option that has none."""

PROVISIONING_HOST: Final = "global.azure-devices-provisioning.net"
"""The endpoint of every DPS instance (iot-dps-mqtt-support.md)."""

WEBSOCKET_PATH: Final = "/$iothub/websocket"
"""Path of the WebSocket at DPS and IoT Hub; the official Python, Node and C SDKs use it too."""

NEVER_SHOWN = 40  # characters: longer text may be a key, a token or a connection string


def given(value: object) -> str:
    """Return a wrong value for an error; nothing that may be a secret is shown."""
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) < 10**18 else "an integer of more than 18 digits"
    if isinstance(value, str):
        if len(value) > NEVER_SHOWN:
            return f"a str of {len(value)} characters"
        return ascii(value)[:SHOWN_LENGTH]
    if isinstance(value, bytes | bytearray):
        return f"{type(value).__name__} of {len(value)} bytes"
    return f"a {type(value).__name__}"


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a call.

    Attributes:
        test: whether a value is one.
        allowed: the allowed values, for errors.
        sentence: its meaning, for help texts.
        default: the value where none is given; ``REQUIRED`` where one must be.
        secret: whether a wrong value is never shown.
    """

    test: Test
    allowed: str
    sentence: str
    default: object = REQUIRED
    secret: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words; empty where the option takes other values."""
        found: tuple[str, ...] = getattr(self.test, "choices", ())
        return found

    def allows(self, value: object) -> bool:
        """Whether a value is allowed."""
        try:
            return self.test(value)
        except Exception:  # whatever an object of the caller does when it is looked at
            return False

    def check(self, name: str, value: object) -> None:
        """Refuse a value that is not allowed.

        Raises:
            UsageError: names the option, the value unless it may be a secret, and what is allowed.
        """
        if not self.allows(value):
            found = f"a {type(value).__name__}" if self.secret else given(value)
            raise UsageError(f"{name}: found {found}; allowed: {self.allowed}")


class Table(Mapping[str, Option]):
    """The options of one call, in the order of its parameters."""

    def __init__(self, *parts: Mapping[str, Option], **options: Option) -> None:
        self._options: dict[str, Option] = {}
        for part in (*parts, options):
            self._options |= part

    def __getitem__(self, name: str) -> Option:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def check(self, values: Mapping[str, object]) -> dict[str, Any]:
        """Check and return the options among ``values``; other names there are passed over.

        Raises:
            UsageError: as for ``Option.check``.
        """
        found = {name: values[name] for name in self._options if name in values}
        for name, value in found.items():
            option = self._options[name]
            if value is not option.default:
                option.check(name, value)
        return found

    def only(self, *names: str) -> "Table":
        """Return a table of some of the options."""
        return Table({name: self[name] for name in names})

    def but(self, *names: str) -> "Table":
        """Return a table without some of the options."""
        return Table({name: option for name, option in self.items() if name not in names})

    def with_defaults(self, **defaults: object) -> "Table":
        """Return a table in which some options have another default."""
        return Table(
            {
                name: replace(option, default=defaults.get(name, option.default))
                for name, option in self.items()
            }
        )
