"""One row of the table of networks: how it is made, and what must be found in it."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mqttws import errors
from mqttws.hops import Cause, Hop, Party
from mqttws.net.tls import TlsConfig

if TYPE_CHECKING:
    from .world import World


@dataclass
class Device:
    """What the device is given in a network: arguments of ``diagnose``, and its environment.

    Attributes:
        host: the server's name.
        options: further arguments.
        environ: variables that are set.
        hop_timeout: seconds for each hop.
        timeout: seconds for all of it.
        tls: trust; None for trust in the DPS's CA.
    """

    host: str = "dps.test"
    options: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    hop_timeout: float = 1.5
    timeout: float = 5.0
    tls: TlsConfig | None = None


Network = Callable[["World"], AbstractAsyncContextManager[Device]]


@dataclass(frozen=True)
class Row:
    """A network, and the way through it or the failure that must be found.

    Attributes:
        name: of the network, a few words.
        network: makes it around a device.
        hop: the hop that fails; None for a way through, or a refusal of the arguments.
        cause: of the failure.
        party: who is responsible.
        says: words that the output must hold.
        never: words that it must not hold.
        refused: whether the arguments are refused before anything is sent.
        registers: whether ``provision`` finds a way by itself, though the first one fails.
        sdk: whether the official SDK is run beside us.
    """

    name: str
    network: Network
    hop: Hop | None = None
    cause: Cause | None = None
    party: Party | None = None
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    refused: bool = False
    registers: bool = False
    sdk: bool = True

    @property
    def through(self) -> bool:
        """Whether the device gets through."""
        return self.hop is None and not self.refused

    def faults(self, found: "Found") -> list[str]:
        """Return what was found against what must be found."""
        faults = []
        expected = (
            self.hop.value if self.hop else None,
            self.cause.value if self.cause else None,
            self.party.value if self.party else None,
        )
        if expected != (found.hop, found.cause, found.party) or self.refused != found.refused:
            faults.append(
                f"expected {expected}, found {(found.hop, found.cause, found.party)}"
                f"{' refused' if found.refused else ''}"
            )
        faults += [f"does not say {word!r}" for word in self.says if word not in found.text]
        faults += [f"says {word!r}" for word in (*self.never, *NEVER) if word in found.text]
        if found.party is not None:
            faults += self._unhelpful(found)
        if not found.text.replace("\n", "").isprintable():
            faults.append("writes control characters")
        if found.late > 1.0:
            faults.append(f"{found.late:.1f} s later than its deadline")
        if (self.through or self.registers) and not found.assigned:
            faults.append(f"provision fails: {found.provision}")
        return faults

    @staticmethod
    def _unhelpful(found: "Found") -> list[str]:
        """Return what a reader misses who sees nothing but the text."""
        faults = []
        parties = [party for party in (found.party, found.also) if party]
        for party in parties:
            line = ASKED[Party(party)]
            if f"\n{line}" not in found.text:
                faults.append(f"does not say what to ask: {line}")
        if len(parties) == 2 and "\nwhich one " not in found.text:
            faults.append("does not say which of the two it is")
        if parties != [Party.HOST.value]:
            seen = [line for line in found.text.splitlines() if line.startswith("send along ")]
            if not seen or not re.search(r" UTC from .+ to \S+:\d+.*: ", seen[0]):
                faults.append("does not say what was seen, when, from where and to where")
        return faults


ASKED = {
    Party.HOST: "do  ",
    Party.PROXY: "ask            the proxy's team",
    Party.NETWORK: "ask            the network team",
    Party.SERVER: "ask            the server's operator",
}
"""How the line begins that says what to ask of a party."""

NEVER = (
    *("s3cretword", "TlsConfig", "ProxyConfig", "on_challenge", "None", "Traceback", "0x7f"),
    *("OSError", "ConnectionResetError", "TimeoutError", "SSLError", "b'", 'b"'),
    *(name for name in errors.__all__ if name[0].isupper()),
)
"""Words that no output may hold: a login, Python's identifiers."""


@dataclass
class Found:
    """What was found in a network."""

    hop: str | None = None
    cause: str | None = None
    party: str | None = None
    also: str | None = None
    text: str = ""
    refused: bool = False
    late: float = 0.0
    seconds: float = 0.0
    assigned: bool = False
    provision: str = ""
    sdk: str = ""
    letter: str = ""
