"""What the doctor found out: the steps, the first failure, and what is to be done about it.

Knows no network. Nothing in a report is a secret.
"""

from dataclasses import dataclass, field
from typing import Any

from ..errors import MqttwsError
from ..hops import Hop, Party
from ..net.hops import Step

UNKNOWN_HOP_EXIT_CODE = 1
"""What a program ends with where a failure belongs to no hop."""

WITHOUT_PROXY = "without the proxy"
"""The name of the alternative that leaves the proxy out."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way that was tried after the first one had failed.

    Attributes:
        name: what was different, such as ``without the proxy``.
        works: whether the way is open up to where MQTT begins.
        detail: what was found.
    """

    name: str
    works: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor found out.

    Attributes:
        target: the URL that was examined.
        settings: what counts on this host: variables, the proxy that was chosen, versions.
        steps: the hops that were walked, in order.
        error: the first failure; None if there is none.
        hop: where it was; None if there is none, or it belongs to no hop.
        party: who is probably responsible.
        advice: what to try, the most promising first.
        warnings: what is odd, but did not fail.
        alternatives: other ways that were tried after a failure.
        clock_skew: seconds that this host's clock is ahead of the server's, or of the proxy's where
            no server has told its time; None if nobody has.
    """

    target: str
    settings: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    error: MqttwsError | None = None
    hop: Hop | None = None
    party: Party | None = None
    advice: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = field(default=())
    clock_skew: float | None = None

    @property
    def ok(self) -> bool:
        """Whether everything that was to be walked was walked."""
        return self.error is None

    @property
    def exit_code(self) -> int:
        """What a program ends with: 0, or the failing hop's ``exit_code``."""
        if self.ok:
            return 0
        return UNKNOWN_HOP_EXIT_CODE if self.hop is None else self.hop.exit_code

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON members, all of them always there.

        ``status`` is ``ok`` or ``error``; ``hop``, ``party``, ``error`` (a class) and
        ``clock_skew_s`` are null where there is none; ``steps`` have ``hop``, ``outcome``,
        ``detail``, ``started_ms``, ``took_ms``, and where there are any, ``error`` and ``facts``;
        ``alternatives`` have ``name``, ``works`` and ``detail``. The rest are sentences.
        """
        return {
            "status": "ok" if self.ok else "error",
            "target": self.target,
            "hop": self.hop.value if self.hop is not None else None,
            "party": self.party.value if self.party is not None else None,
            "error": type(self.error).__name__ if self.error is not None else None,
            "message": str(self.error) if self.error is not None else "",
            "advice": list(self.advice),
            "warnings": list(self.warnings),
            "settings": list(self.settings),
            "clock_skew_s": None if self.clock_skew is None else round(self.clock_skew, 1),
            "steps": [step.to_json() for step in self.steps],
            "alternatives": [
                {"name": other.name, "works": other.works, "detail": other.detail}
                for other in self.alternatives
            ],
        }
