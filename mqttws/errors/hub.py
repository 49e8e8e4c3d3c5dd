"""Refusals of an IoT hub: of a device's request, or of a service's."""

from typing import Unpack

from ..hops import Cause
from .base import Fields, MqttwsError


def cause_of_status(status: int) -> Cause:
    """Return the cause of an error status of HTTP, or of an answer like it."""
    if status == 429:
        return Cause.THROTTLED
    return Cause.SERVER_UNAVAILABLE if status >= 500 else Cause.REQUEST_REFUSED


class HubRequestRejected(MqttwsError):
    """The hub answered a device's or a service's request with an error, or with an invalid answer.

    Attributes:
        status: as in HTTP: 400, 413, 429, 500, …; 200 for an answer that cannot be read.
        error_code: the hub's six-digit code; None where it gave none.
        tracking_id: an id that Microsoft's support asks for; empty where the answer had none.
    """

    usual_cause = Cause.REQUEST_REFUSED

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        error_code: int | None = None,
        tracking_id: str = "",
        **fields: Unpack[Fields],
    ) -> None:
        fields["cause"] = fields.get("cause") or cause_of_status(status)
        super().__init__(message, **fields)
        self.status = status
        self.error_code = error_code
        self.tracking_id = tracking_id
