"""The root of the tree, and the caller's own mistakes."""

from typing import Any, ClassVar, Final, TypedDict, Unpack

from ..hops import Cause, Hop, Party, usual_party

FAILED: Final = 1
"""Exit code: failed, and not on a hop."""

USAGE: Final = 2
"""Exit code: an option or a key is invalid; nothing was sent."""

NEVER: Final = 40
"""Added to an exit code where the same command cannot succeed later, unchanged."""


_FACTS = (
    *("status", "reason", "return_code", "error_code", "tracking_id", "state", "close_code"),
    "file",
)


class Fields(TypedDict, total=False):
    """The keyword arguments that every error takes; left out: what is usual for its class."""

    hop: Hop | None
    cause: Cause | None
    party: Party | None
    retryable: bool | None
    hint: str


class MqttwsError(Exception):
    """The root of the tree: catching it catches everything that mqttws raises on purpose.

    Attributes:
        hop: the leg of the way that failed; None where the failure belongs to none.
        cause: the reason, as far as it was found out.
        hint: what the user can do next, one sentence; empty where the message says it all.
    """

    usual_hop: ClassVar[Hop | None] = None
    usual_cause: ClassVar[Cause] = Cause.UNKNOWN
    usual_hint: ClassVar[str] = ""
    """The values where the one who raises the error gives none."""

    def __init__(
        self,
        message: str = "",
        *,
        hop: Hop | None = None,
        cause: Cause | None = None,
        party: Party | None = None,
        retryable: bool | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.hop: Hop | None = hop or self.usual_hop
        self.cause: Cause = cause or self.usual_cause
        self.hint: str = hint or self.usual_hint
        self._party = party
        self._retryable = retryable

    def to_json(self) -> dict[str, Any]:
        """Return the error as JSON members: the same for every class, all always there.

        ``error`` is the class; ``hop``, ``cause`` and ``party`` are the values of their enums, null
        where there is none; ``facts`` holds what the class knows besides, such as ``status``.
        """
        return {
            "error": type(self).__name__,
            "message": str(self),
            "hint": self.hint,
            "hop": None if self.hop is None else self.hop.value,
            "cause": self.cause.value,
            "party": None if self.party is None else self.party.value,
            "retryable": self.retryable,
            "exit_code": self.exit_code,
            "facts": {name: getattr(self, name) for name in _FACTS if hasattr(self, name)},
        }

    @property
    def exit_code(self) -> int:
        """Exit code of a command that this error ends.

        10 to 29 for the hop, 1 where there is none; 40 more where ``retryable`` is false.
        """
        code = FAILED if self.hop is None else self.hop.exit_code
        return code if self.retryable else code + NEVER

    @property
    def party(self) -> Party | None:
        """The party that is probably responsible; None if unknown."""
        return self._party or usual_party(self.cause, self.hop)

    @party.setter
    def party(self, party: Party | None) -> None:
        self._party = party

    @property
    def retryable(self) -> bool:
        """Whether the same call can succeed later, unchanged."""
        return self.cause.retryable if self._retryable is None else self._retryable

    @retryable.setter
    def retryable(self, retryable: bool | None) -> None:
        self._retryable = retryable


def with_rule(error: MqttwsError, rule: str) -> str:
    """Return an error's sentence with the id of the rule behind it, if there is one."""
    message = str(error.args[0]) if error.args else ""
    return f"{message} [{rule}]" if rule else message


class UsageError(MqttwsError, ValueError):
    """A mistake of the caller: an argument, or a call at the wrong moment; nothing was sent.

    Attributes:
        rule: the statement's id, where one forbids it; else empty.
    """

    usual_cause = Cause.ARGUMENT

    @property
    def exit_code(self) -> int:
        """Exit code of a command that this error ends: 2."""
        return USAGE

    def __init__(self, message: str = "", *, rule: str = "", **fields: Unpack[Fields]) -> None:
        super().__init__(message, **fields)
        self.rule = rule

    def __str__(self) -> str:
        return with_rule(self, self.rule)
