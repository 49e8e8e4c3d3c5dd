"""Certificates that one hub issues to its devices: operations, the CA, and their answers.

Knows records and the CA. Does not know MQTT: a connection hands requests in, and is asked to
deliver what has been stored. The rules are ``hub.service.issuance``'s.
"""

import asyncio
import time
import uuid
from dataclasses import replace
from typing import Protocol

from ..dps.issuance import (
    CertificateWanted,
    ChainFault,
    CredentialPolicy,
    Issued,
    NotIssued,
    decode_der,
)
from ..hub.service.codes import Fault
from ..hub.service.issuance import Issuance, ended, judge, refused
from ..hub.service.records import Key, Record
from .hub_base import HubBase, logger, tracking_id


class Ca(Protocol):
    """The CA that a hub shares with its DPS."""

    policies: dict[str, CredentialPolicy]

    @property
    def anchor(self) -> bytes:
        """The certificate in which every issued chain ends, DER."""

    def sign(self, wanted: CertificateWanted, fault: ChainFault | None) -> Issued | NotIssued:
        """Issue a certificate, or refuse its request."""


class IssuanceWork(HubBase):
    """A hub's treatment of devices' requests for certificates.

    Attributes:
        ca: issues them; None where there is none.
    """

    ca: Ca | None = None

    async def ask_certificate(
        self, key: Key, request_id: str, payload: bytes, now: float
    ) -> Issuance | Fault:
        """Begin an operation, or go on with the same one; return it as it is stored."""

        def rule(before: Record | None) -> tuple[Record | None, Issuance | Fault]:
            active = None if before is None else before.issuance
            correlation_id = str(uuid.uuid4())
            found = judge(active, request_id, payload, key.device_id, correlation_id, now)
            if before is None or isinstance(found, Fault) or found is active:
                return before, found
            return replace(before, issuance=found), found

        return await self.change(key, rule)

    def issue_soon(
        self, key: Key, operation: Issuance, fault: ChainFault | None, wait: float
    ) -> None:
        """Let the CA answer, in ``wait`` seconds; the connection may be gone by then."""
        self.spawn(self._issue(key, operation, fault, wait))

    async def _issue(
        self, key: Key, operation: Issuance, fault: ChainFault | None, wait: float
    ) -> None:
        await asyncio.sleep(wait)

        def rule(before: Record | None) -> tuple[Record | None, Issuance | None]:
            if before is None or before.issuance != operation:
                return before, None  # it has been replaced, or answered already
            done = self._answered(before, operation, fault)
            return replace(before, issuance=done), done

        done = await self.change(key, rule)
        if done is not None:
            logger.info("%s: %s: issueCertificate %d", self.name, key.device_id, done.status)
        connection = self.connections.get((key.device_id, key.module_id))
        if connection is not None:
            connection.deliver()

    def _answered(self, record: Record, operation: Issuance, fault: ChainFault | None) -> Issuance:
        """Return the operation as the CA has ended it."""
        credentials = record.identity.credentials
        policy = None if self.ca is None else self.ca.policies.get(credentials.policy)
        now = time.time()
        if self.ca is None or policy is None:
            found: Issued | NotIssued = NotIssued("NoPolicy", "the device has no credential policy")
        else:
            name = credentials.common_name or record.identity.device_id
            csr = decode_der(operation.csr) or b""
            found = self.ca.sign(CertificateWanted(csr, name, policy), fault)
        if isinstance(found, NotIssued):
            return refused(operation, found.reason, found.message, now, tracking_id())
        return ended(operation, None if found.chain is None else list(found.chain))

    async def certificate_delivered(self, key: Key, operation: Issuance) -> None:
        """Forget an operation whose answer the device has acknowledged."""

        def rule(before: Record | None) -> tuple[Record | None, None]:
            if before is None or before.issuance != operation:
                return before, None
            return replace(before, issuance=None), None

        await self.change(key, rule)
