"""Refusals and failures of DPS."""

from typing import Unpack

from ..hops import Cause
from .base import Fields, MqttwsError


class ProvisioningError(MqttwsError):
    """DPS answered, but not with an assignment."""


BY_ERROR_CODE = {
    400207: Cause.ALLOCATION_FAILED,
    400208: Cause.NO_HUB,
    400209: Cause.DEVICE_DISABLED,
    400037: Cause.CERTIFICATE_NOT_ISSUED,
    400040: Cause.CERTIFICATE_NOT_ISSUED,
    401000: Cause.WRONG_KEY,
    401001: Cause.NO_HUB,
    401002: Cause.CLIENT_CERTIFICATE_REFUSED,
    404201: Cause.NOT_ENROLLED,
    404202: Cause.OPERATION_UNKNOWN,
    404203: Cause.OPERATION_UNKNOWN,
}
"""The service's six-digit codes; a code that is not here is judged by its first three digits."""


def _by_status(status: int, error_code: int | None) -> Cause:
    found = BY_ERROR_CODE.get(error_code or 0)
    if found is not None:
        return found
    if status >= 500:
        return Cause.SERVER_UNAVAILABLE
    return {
        401: Cause.WRONG_KEY,
        403: Cause.DEVICE_DISABLED,
        404: Cause.NOT_ENROLLED,
        429: Cause.THROTTLED,
    }.get(status, Cause.REQUEST_REFUSED)


class RegistrationRejected(ProvisioningError):
    """DPS answered with an error status.

    Attributes:
        status: the answer's status, as in HTTP: 400, 401, 404, 429, 500, …
        error_code: the service's six-digit code; None where it gave none.
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
        fields["cause"] = fields.get("cause") or _by_status(status, error_code)
        super().__init__(message, **fields)
        self.status = status
        self.error_code = error_code
        self.tracking_id = tracking_id


class RegistrationFailed(ProvisioningError):
    """The operation ended (status 200), but not with an assignment.

    Attributes:
        state: ``failed`` or ``disabled``.
        error_code: the service's six-digit code; None where it gave none.
    """

    usual_cause = Cause.ASSIGNMENT_FAILED

    def __init__(
        self,
        message: str = "",
        *,
        state: str = "",
        error_code: int | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        usual = Cause.DEVICE_DISABLED if state == "disabled" else Cause.ASSIGNMENT_FAILED
        fields["cause"] = fields.get("cause") or BY_ERROR_CODE.get(error_code or 0, usual)
        super().__init__(message, **fields)
        self.state = state
        self.error_code = error_code


class CertificateNotIssued(ProvisioningError):
    """A certificate was asked for, and none that this device can use came back."""

    usual_cause = Cause.CERTIFICATE_NOT_ISSUED


class MalformedAnswer(ProvisioningError):
    """The service's answer does not have the documented shape, so nothing can be done with it."""

    usual_cause = Cause.ANSWER_MALFORMED
    usual_hint = (
        "the service is not DPS, or something on the way rewrites its answers: check the host"
    )
