"""The doctor's report: the steps, the first failure, and the advice.

Knows no network. Nothing in a report is a secret.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from ..errors import MqttwsError
from ..errors.base import FAILED, NEVER
from ..hops import Cause, Hop, Party
from ..net.hops import Step


class Way(Enum):
    """The difference of another way that is tried after a failure."""

    WITHOUT_PROXY = "without the proxy"
    IGNORED_PROXY = "through a proxy that the settings name and leave out"
    OTHER_PATH = "another path"
    OTHER_TRANSPORT = "another transport"
    TLS_1_2 = "TLS 1.2 at most"


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way that was tried after the first one had failed.

    Attributes:
        name: what was different, such as ``without the proxy``, with the option that does it.
        works: whether the way is open up to where MQTT begins.
        detail: what was found.
        way: the kind of difference.
    """

    name: str
    works: bool
    detail: str
    way: Way


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a party.

    Attributes:
        party: who can help; ``HOST`` for the reader's own machine.
        condition: with two possible parties, the outcome of ``Report.telling`` that speaks for this
            one; empty where there is one only.
        text: what is to be done, as an order.
    """

    party: Party
    condition: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The doctor's findings.

    Attributes:
        target: the URL that was examined.
        settings: what counts on this host: variables, the proxy that was chosen, versions.
        steps: the hops that were walked, in order.
        error: the first failure; None if there is none.
        hop: where it was; None if there is none, or it belongs to no hop.
        cause: the reason, judged from all evidence; None if there is no failure.
        party: who is probably responsible.
        also: the other party that it may be; None where the evidence points to one.
        because: what the verdict rests on besides the failure itself; empty for nothing.
        telling: the observation that tells two possible parties apart; empty for one.
        advice: what to try, the most promising first.
        requests: what to ask of each party that it may be.
        sighting: when, from where, to where, and what answered: it goes along with a request.
        warnings: what is odd, but did not fail.
        alternatives: other ways that were tried after a failure.
        clock_skew: seconds that this host's clock is ahead of the server's, or of the proxy's where
            no answer held a time; None if nothing is known.
        when: the moment of the examination.
        origin: this host's name, address and system.
    """

    target: str
    settings: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    error: MqttwsError | None = None
    hop: Hop | None = None
    cause: Cause | None = None
    party: Party | None = None
    also: Party | None = None
    because: str = ""
    telling: str = ""
    advice: tuple[str, ...] = ()
    requests: tuple[Request, ...] = ()
    sighting: str = ""
    warnings: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = field(default=())
    clock_skew: float | None = None
    when: datetime = field(default_factory=lambda: datetime.now(UTC))
    origin: str = ""

    @property
    def message_to_team(self) -> str:
        """The request to the first team, with what was seen; empty where it is the reader's own."""
        for request in self.requests:
            if request.party is not Party.HOST:
                return f"please {request.text}; {self.sighting}"
        return ""

    @property
    def ok(self) -> bool:
        """Whether everything that was to be walked was walked."""
        return self.error is None

    @property
    def exit_code(self) -> int:
        """Exit code of a command: 0, or the error's, as for every command."""
        if self.error is None:
            return 0
        code = FAILED if self.hop is None else self.hop.exit_code
        return code if self.error.retryable else code + NEVER

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON members, all of them always there.

        ``status`` is ``ok`` or ``error``; ``hop``, ``cause``, ``party``, ``also``, ``error`` (a
        class) and ``clock_skew_s`` are null where there is none; ``steps`` have ``hop``,
        ``outcome``, ``detail``, ``started_ms``, ``took_ms``, and where there are any, ``error`` and
        ``facts``; ``alternatives`` have ``name``, ``works`` and ``detail``, ``requests`` have
        ``party``, ``if`` and ``text``. The rest are sentences.
        """
        error = MqttwsError() if self.error is None else self.error
        return {
            "schema": 1,
            "status": "ok" if self.ok else "error",
            **(error.to_json() if self.error else dict.fromkeys(error.to_json())),
            "exit_code": self.exit_code,
            "target": self.target,
            "hop": self.hop.value if self.hop is not None else None,
            "cause": self.cause.value if self.cause is not None else None,
            "party": self.party.value if self.party is not None else None,
            "also": self.also.value if self.also is not None else None,
            "because": self.because,
            "telling": self.telling,
            "advice": list(self.advice),
            "requests": [
                {"party": each.party.value, "if": each.condition, "text": each.text}
                for each in self.requests
            ],
            "sighting": self.sighting,
            "message_to_team": self.message_to_team,
            "warnings": list(self.warnings),
            "settings": list(self.settings),
            "clock_skew_s": None if self.clock_skew is None else round(self.clock_skew, 1),
            "steps": [step.to_json() for step in self.steps],
            "alternatives": [
                {"name": other.name, "works": other.works, "detail": other.detail}
                for other in self.alternatives
            ],
        }
