"""A registration that brings a certificate: reused, renewed, or issued for the first time.

Knows what is stored and when it is due. What is said to DPS is ``exchange``'s matter.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ..dps.issuance import ISSUE_API_VERSION, knows_issuance
from ..dps.names import DEFAULT_API_VERSION
from ..errors import MqttwsError, RegistrationRejected, UsageError
from ..hops import Cause
from .assignment import Assignment
from .issued import CertificateStore
from .pending import PendingCertificate

logger: logging.Logger = logging.getLogger("mqttws.provisioning")

Register = Callable[[PendingCertificate], Awaitable[Assignment]]
"""Registers with DPS and a certificate signing request, and returns the assignment once the
certificate is stored."""


def issue_version(api_version: str) -> str:
    """Return the api-version for a registration with a certificate signing request.

    Raises:
        UsageError: the one that was asked for does not know them.
    """
    if api_version == DEFAULT_API_VERSION:
        return ISSUE_API_VERSION
    if not knows_issuance(api_version):
        raise UsageError(
            f"api_version {api_version!a} has no certificate requests; allowed: 2025-07-01-preview"
            f" or later, with issue={ISSUE_API_VERSION}"
        )
    return api_version


async def register_with_certificate(
    store: CertificateStore,
    register: Register,
    *,
    host: str,
    id_scope: str,
    registration_id: str,
    force: bool,
    sends_payload: bool,
) -> Assignment:
    """Return a stored assignment whose certificate is good, or register for another one.

    A certificate that is due and valid still serves where DPS cannot be reached just now.

    Raises:
        MqttwsError: as ``provision``.
    """
    binding = {
        "host": host.lower(),
        "id_scope": id_scope.lower(),
        "registration_id": registration_id.lower(),
    }
    stored = await asyncio.to_thread(store.load)
    now = time.time()
    kept = None
    if stored is not None and stored.binding == binding and stored.is_valid(now) and not force:
        kept = stored.assignment
    if kept is not None and not store.is_due(now):
        return kept._holding(store)
    await asyncio.to_thread(store.check)
    pending = await asyncio.to_thread(store.begin, registration_id, binding)
    try:
        assignment = await register(pending)
    except RegistrationRejected as error:
        raise _explained(error, sends_payload=sends_payload) from None
    except MqttwsError as error:
        if kept is None or not error.retryable:
            raise
        logger.warning("the certificate is due and was not renewed, but is valid: %s", error)
        assignment = kept
    return assignment._holding(store)


def _explained(error: RegistrationRejected, *, sends_payload: bool) -> RegistrationRejected:
    """Return a refusal with what a certificate signing request may have to do with it."""
    if error.status == 400:
        if not sends_payload:  # then nothing else in the request is new
            error.cause = Cause.CERTIFICATE_NOT_ISSUED
        error.hint = (
            "the service may not know certificate requests (device API 2025-07-01-preview or"
            f" later), or the enrollment names no credential policy; {error.hint}"
        )
    return error
