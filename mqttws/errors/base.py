"""The root of the tree, and the caller's own mistakes."""

from typing import ClassVar, TypedDict, Unpack

from ..hops import Cause, Hop, Party, usual_party


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
        self.hop = hop or self.usual_hop
        self.cause = cause or self.usual_cause
        self.hint = hint or self.usual_hint
        self._party = party
        self._retryable = retryable

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

    def __init__(self, message: str = "", *, rule: str = "", **fields: Unpack[Fields]) -> None:
        super().__init__(message, **fields)
        self.rule = rule

    def __str__(self) -> str:
        return with_rule(self, self.rule)


class UnsupportedAttestation(UsageError):
    """An attestation that DPS does not support over MQTT: TPM."""

    usual_cause = Cause.UNSUPPORTED
