"""Requests of a device to its hub about its twin: ids, answers, and when to ask again."""

from dataclasses import dataclass
from typing import Any

from ...text import short_line

TOO_MANY = 429
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
"""Seconds before a throttled or failed request is sent again: doubled each time, jittered."""


@dataclass(frozen=True, slots=True)
class HubFault:
    """An error answer of the hub.

    Attributes:
        status: as in HTTP.
        error_code: the hub's six-digit code; None where it gave none.
        tracking_id: for Microsoft's support; empty where the answer had none.
        message: the hub's sentence, one line; empty where there was none.
    """

    status: int
    error_code: int | None = None
    tracking_id: str = ""
    message: str = ""

    @property
    def passes(self) -> bool:
        """Whether the same request can succeed later: throttled, or the server's own trouble."""
        return self.status == TOO_MANY or self.status >= 500


def fault_from_json(status: int, value: object) -> HubFault:
    """Return an error answer from its body, which may be anything."""
    found: dict[str, Any] = value if isinstance(value, dict) else {}
    code = found.get("errorCode")
    tracking_id, message = found.get("trackingId"), found.get("message")
    return HubFault(
        status,
        code if type(code) is int else None,
        short_line(tracking_id) if isinstance(tracking_id, str) else "",
        short_line(message) if isinstance(message, str) else "",
    )


def wait_before(attempt: int, chance: float) -> float:
    """Return the seconds to wait before a request is sent again.

    Args:
        attempt: 1 before the second sending, and so on.
        chance: 0 to 1, at random; the wait is between half and the whole of its limit.
    """
    limit = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 30))
    return limit * (0.5 + chance / 2)


class RequestIds:
    """Request ids that no answer to an earlier request fits.

    Args:
        prefix: of this process, at random: answers to an earlier process are recognised.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._number = 0

    def next(self) -> str:
        """Return an id that was not given out before."""
        self._number += 1
        return f"{self._prefix}{self._number:x}"
