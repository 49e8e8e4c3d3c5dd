"""The settings of one DPS instance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import UsageError
from ..text import shown
from .issuance import CredentialPolicy
from .names import HOST_NAME_RULE, is_host_name


@dataclass(frozen=True)
class Settings:
    """Settings for every device of an instance.

    Attributes:
        id_scope: of the instance.
        hubs: host names of the linked IoT hubs; an enrollment may name others.
        weights: of the hubs in the hashed allocation, 1 to 1000; 1 where a hub is not named.
        retry_after: whole seconds that a device is asked to wait before its next poll.
        assigning_polls: polls that are answered 202 before the final 200.
        leeway: seconds after its expiry for which a token is still taken; the real service's is not
            published.
        registers_per_minute: of all devices together; more are answered 429; None for no limit.
            The real service takes 1000 (``iot-dps-limits.md``).
        polls_per_10s: of each device; more are answered 429; None for no limit. The real service
            takes 5.
        lenient: whether bodies and api-versions that the real service refuses are served.
        policies: by which certificates are issued, by name.
        profiles: ``connectionProfile`` by host name of a hub, in lower case; ``classic`` for one
            that is not named.

    Raises:
        UsageError: names the member and what is allowed.
    """

    id_scope: str
    hubs: tuple[str, ...]
    weights: Mapping[str, int] = field(default_factory=dict)
    retry_after: int = 3
    assigning_polls: int = 0
    leeway: float = 0
    registers_per_minute: int | None = None
    polls_per_10s: int | None = None
    lenient: bool = False
    policies: Mapping[str, CredentialPolicy] = field(default_factory=dict)
    profiles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.retry_after, int) or self.retry_after < 0:
            raise UsageError(f"retry_after {self.retry_after!r}; allowed: whole seconds")
        for name in ("registers_per_minute", "polls_per_10s"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise UsageError(f"{name}: a limit of {limit}; allowed: at least 1")
        for hub in self.hubs:
            if not (isinstance(hub, str) and is_host_name(hub)):
                raise UsageError(f"a hub {shown(hub)}; allowed: {HOST_NAME_RULE}")
        for hub, weight in self.weights.items():
            if not isinstance(weight, int) or not 1 <= weight <= 1000:
                raise UsageError(f"the weight of {shown(hub)} is {weight!r}; allowed: 1 to 1000")

    @classmethod
    def of(
        cls, id_scope: str, hubs: Sequence[str] | Mapping[str, int], **others: object
    ) -> "Settings":
        """Return settings with host names of hubs, or names and weights."""
        weights = dict(hubs) if isinstance(hubs, Mapping) else {}
        return cls(id_scope, tuple(hubs), weights, **others)  # type: ignore[arg-type]
