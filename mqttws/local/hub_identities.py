"""Identities and twins of one hub, as its services change them."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..hub.service.codes import Code, Fault
from ..hub.service.decisions import desired_message
from ..hub.service.identity import Identity, completed, same_but_revision
from ..hub.service.records import Key, Record
from ..hub.service.twin import ServiceWrite, Twin, new_twin, write
from .hub_base import HubBase, logger, not_found


class IdentityWork(HubBase):
    """The services' operations on identities and twins."""

    # The registry

    async def register(
        self,
        new: Identity,
        *,
        etag: str | None = None,
        initial_twin: Mapping[str, Any] | Twin | None = None,
        replace_any: bool = False,
    ) -> Identity | Fault:
        """Create an identity, or change one whose etag is known.

        Args:
            new: as ``read_identity`` returns it.
            etag: of ``If-Match``: None creates, ``*`` changes any.
            initial_twin: of a new identity: ``tags`` and ``properties.desired``, or a twin as
                another hub has kept it.
            replace_any: create or change, whichever it is.
        """
        now = time.time()
        twin = initial_twin if isinstance(initial_twin, Twin) else new_twin(initial_twin, now)
        if isinstance(twin, Fault):
            return twin
        if new.module_id and await self.load(self.key(new.device_id)) is None:
            return Fault(Code.DeviceNotFound, "there is no such device")
        fresh = (secrets.token_bytes(32), secrets.token_bytes(32))
        generation = str(time.time_ns() // 100)

        def rule(before: Record | None) -> tuple[Record | None, Identity | Fault]:
            fault = None if replace_any else _registry_fault(new, before, etag)
            if fault is not None:
                return before, fault
            old = None if before is None else before.identity
            identity = completed(new, old, fresh, generation, now)
            if before is None:
                return Record(identity, twin), identity
            if same_but_revision(identity, before.identity):
                return before, before.identity
            return replace(before, identity=identity), identity

        found = await self.change(self.key(new.device_id, new.module_id), rule)
        if isinstance(found, Identity):
            created = found.revision == 1
            logger.info("%s: %s %s", self.name, found.name, "created" if created else "changed")
            if not found.enabled:
                self._end(found.device_id, found.module_id, "its identity has been disabled")
        return found

    async def delete(
        self, device_id: str, module_id: str = "", *, etag: str | None = None
    ) -> Fault | None:
        """Delete an identity, with its twin, session and queue; a device with its modules."""
        key = self.key(device_id, module_id)

        def rule(before: Record | None) -> tuple[Record | None, Fault | None]:
            if before is None:
                return before, not_found(module_id)
            if etag not in (None, "*", before.identity.etag):
                return before, Fault(Code.PreconditionFailed, "the identity's etag is another")
            return None, None

        fault = await self.change(key, rule)
        if fault is not None:
            return fault
        logger.info("%s: %s deleted", self.name, device_id + f"/{module_id}" * bool(module_id))
        self._end(device_id, module_id, "its identity has been deleted")
        if not module_id:
            for record in await self.modules(device_id):
                await self.delete(device_id, record.identity.module_id)
        return None

    async def modules(self, device_id: str) -> list[Record]:
        """Return the modules of a device."""
        found = await self.store.list(self.name, after=(device_id, ""))
        return [of for of in found if of.identity.device_id == device_id]

    def _end(self, device_id: str, module_id: str, reason: str) -> None:
        for key, connection in list(self.connections.items()):
            if key[0] == device_id and module_id in ("", key[1]):
                connection.close(reason)

    # Twins

    async def twin(self, key: Key) -> Twin | Fault:
        """Return a twin."""
        record = await self.load(key)
        return not_found(key.module_id) if record is None else record.twin

    async def write_twin(
        self, key: Key, body: object, *, replace_all: bool = False, etag: str | None = None
    ) -> Twin | Fault:
        """Patch or replace tags and desired properties, and send the change to the device."""
        now = time.time()

        def rule(before: Record | None) -> tuple[Record | None, ServiceWrite | Fault]:
            if before is None:
                return before, not_found(key.module_id)
            done = write(before.twin, body, now, replace_all=replace_all, etag=etag)
            if isinstance(done, Fault):
                return before, done
            return replace(before, twin=done.twin), done

        done = await self.change(key, rule)
        if isinstance(done, Fault):
            return done
        connection = self.connections.get((key.device_id, key.module_id))
        if done.desired is not None and connection is not None:
            # Never kept for an absent device: it reads its twin when it comes.
            connection.send(desired_message(done.desired, done.twin.desired.version))
        return done.twin


def _registry_fault(new: Identity, before: Record | None, etag: str | None) -> Fault | None:
    if etag is None and before is not None:
        code = Code.ModuleAlreadyExistsOnDevice if new.module_id else Code.DeviceAlreadyExists
        return Fault(code, "the identity exists already; If-Match changes it")
    if etag is not None and before is None:
        return not_found(new.module_id)
    if before is not None and etag not in ("*", before.identity.etag):
        return Fault(Code.PreconditionFailed, "the identity's etag is another")
    return None
