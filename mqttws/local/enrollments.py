"""Enrollments: who may register, changed in the store while devices register."""

import asyncio
import json
import logging
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from ..dps.directory import Directory, place_of
from ..dps.enrollment_json import parse_enrollments
from ..dps.records import CaCertificate
from ..dps.store import Row
from ..dps.tables import AnyEnrollment
from ..errors import UsageError
from ..text import short_line, shown
from .dps_events import DpsEvents
from .x509 import load_certificate

logger: logging.Logger = logging.getLogger("mqttws.local")

_AT_ONCE = 500  # enrollments that are stored together


class Enrollments:
    """The enrollments of a DPS, changed while devices register.

    Args:
        directory: of the store.
        events: gets each change.
    """

    def __init__(self, directory: Directory, events: DpsEvents) -> None:
        self._directory = directory
        self._events = events

    async def enroll(self, record: Mapping[str, Any], *, replace: bool = False) -> None:
        """Let a device, or a group of them, register from now on.

        Args:
            record: an individual enrollment or a group, in the shape of the DPS service API.
            replace: whether it may take the place of the one that has its id.

        Raises:
            UsageError: names the member that is wrong and what was expected.
            StoreFailed: it could not be stored.
        """
        try:
            text = json.dumps([record])
        except (TypeError, ValueError):
            raise UsageError("enroll: record: found what JSON cannot hold") from None
        for enrollment in parse_enrollments(text, "enroll"):
            await self.keep(enrollment, replace=replace)

    async def keep(self, enrollment: AnyEnrollment, *, replace: bool = False) -> None:
        """Take an enrollment that has been read already; otherwise like ``enroll``."""
        before = await self._directory.row(*place_of(enrollment))
        if before.version and not replace:
            _, name = place_of(enrollment)
            raise UsageError(f"there is an enrollment {shown(name)} already")
        if not await self.change(enrollment, before, any_version=replace):
            raise UsageError("another client enrolls the same id at the same moment")

    async def change(
        self, enrollment: AnyEnrollment, before: Row, *, any_version: bool = False
    ) -> bool:
        """Keep an enrollment in the place of the row that was loaded; False if that has moved."""
        enrollment, checks = await self._directory.with_cas(enrollment)
        for der in enrollment.certificates:
            load_certificate(der)
        if not await self._directory.put(enrollment, before, checks, any_version=any_version):
            return False
        self._note("put", enrollment)
        return True

    async def put_ca(self, ca: CaCertificate, before: Row) -> bool:
        """Keep a CA's certificate, and let the groups that refer to it take it at once.

        Args:
            ca: the new one.
            before: the row of its name, as it was loaded; False is returned if that has moved.

        Raises:
            UsageError: it is no certificate.
            StoreFailed: it could not be stored.
        """
        load_certificate(ca.der)
        if not await self._directory.put_ca(ca, before):
            return False
        for row in await self._directory.groups_of_ca(ca.name):
            found = row
            while found.version and not await self.change(found.value, found):
                found = await self._directory.row(*place_of(row.value))
        return True

    async def remove(self, enrollment: AnyEnrollment, before: Row) -> bool:
        """Delete an enrollment; False if it is not the one that was loaded any more."""
        if not await self._directory.remove(enrollment, before):
            return False
        self._note("deleted", enrollment)
        return True

    async def enroll_once(self, enrollments: Sequence[AnyEnrollment]) -> list[str]:
        """Enroll those whose ids the records have never held; return the ids of the others."""

        async def add(enrollment: AnyEnrollment) -> bool:
            enrollment, _ = await self._directory.with_cas(enrollment)
            added = await self._directory.add(enrollment, once=True)
            if added:
                self._note("put", enrollment)
            return added

        for enrollment in enrollments:
            for der in enrollment.certificates:
                load_certificate(der)
        known = []
        for at in range(0, len(enrollments), _AT_ONCE):
            some = enrollments[at : at + _AT_ONCE]
            added = await asyncio.gather(*map(add, some))
            known += [place_of(one)[1] for one, new in zip(some, added, strict=True) if not new]
        return known

    async def enroll_device(self, registration_id: str, credential_policy: str = "") -> str:
        """Enroll one device with fresh keys; return its primary key, base64."""
        primary, secondary = (b64encode(secrets.token_bytes(64)).decode() for _ in range(2))
        await self.enroll(
            {
                "registrationId": registration_id,
                "attestation": {
                    "type": "symmetricKey",
                    "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary},
                },
                "credentialPolicyName": credential_policy or None,
            }
        )
        return primary

    async def begin(self, first: Sequence[AnyEnrollment], given: Sequence[AnyEnrollment]) -> None:
        """Enroll what a start is given: ``first`` only where the records hold nothing yet."""
        indexed = await self._directory.index_groups()
        if indexed:
            logger.info("enrollment groups that an older version has written: %d indexed", indexed)
        if await self._directory.is_empty():
            await self.enroll_once(first)
        known = await self.enroll_once(given)
        if known:
            logger.info(
                "%d of %d enrollments given are known to the records, which win: %s",
                len(known),
                len(given),
                short_line(", ".join(known[:10])),
            )

    def _note(self, change: str, enrollment: AnyEnrollment) -> None:
        self._events.add("enrollment", change=change, id=place_of(enrollment)[1])
