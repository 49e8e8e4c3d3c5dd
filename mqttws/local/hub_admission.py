"""A device's CONNECT at the local hub: which hub it means, whether it may, and its session."""

import asyncio
import hashlib
import time
from dataclasses import replace

from ..hub.service.access import SERVER_UNAVAILABLE, Presented, Refused, admit
from ..hub.service.decisions import (
    Peer,
    will_fault,
)
from ..hub.service.records import Key, Record
from ..hub.service.requests import (
    Names,
    parse_names,
)
from ..hub.service.session import opened
from ..text import shown
from ..wire import Connect
from .chains import EnrolledChains
from .hub_connection import HubConnection
from .hub_core import Hub


class Admission(HubConnection):
    """A connection whose device asks to be let in."""

    async def _judge(self, connect: Connect) -> Refused | tuple[Peer, Key, bool, Record]:
        names = parse_names(connect.username or "")
        if names is None:
            return Refused(f"user name {shown(connect.username)}; allowed: {{hub}}/{{device}}/?...")
        if connect.will is not None:
            fault = will_fault(names, connect.will.topic, connect.will.qos)
            if fault:
                return Refused(fault)
        hub = await self._registry.find(names)
        if hub is None:
            return Refused(f"there is no hub {shown(names.hub)} here")
        self._hub = hub
        now = time.time()
        refused = await self._disturbed(names)
        if refused is not None:
            return refused
        if not hub.connects.take(now):
            return Refused("more connections than the hub takes (429001)", SERVER_UNAVAILABLE)
        key = hub.key(names.device_id, names.module_id)
        record = await hub.load(key)
        parent = await hub.load(hub.key(names.device_id)) if names.module_id else None
        presented = self._presented(connect, names, hub, record)
        verdict = admit(
            presented,
            None if record is None else record.identity,
            None if parent is None else parent.identity,
            hub.policies,
            now,
        )
        if isinstance(verdict, Refused):
            return verdict
        return await self._open(Peer(names, verdict), key, clean=connect.clean_session)

    def _presented(
        self, connect: Connect, names: Names, hub: Hub, record: Record | None
    ) -> Presented:
        """Return what a device has presented; its chain goes up to a CA that is known, if any."""
        chain = self.link.chain
        if chain and record is not None:
            enrolled = (*record.identity.credentials.certificates, *hub.cas)
            chain = EnrolledChains().continued(chain, enrolled)
        cas = frozenset(hashlib.sha256(der).hexdigest() for der in hub.cas)
        return Presented(connect.client_id, names, connect.password, chain, cas)

    async def _disturbed(self, names: Names) -> Refused | None:
        """Let an ordered fault strike a CONNECT."""
        fault = self._hub.faults.strike(names.device_id, "connect")
        if fault is None:
            return None
        self.link.log("fault: %s at connect", fault.kind)
        if fault.kind == "refuse":
            return Refused("fault: refuse", fault.return_code)
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        elif fault.kind == "silence":
            await asyncio.get_running_loop().create_future()
        else:
            self.close("fault: dropped at connect")
        return None

    async def _open(
        self, peer: Peer, key: Key, *, clean: bool
    ) -> Refused | tuple[Peer, Key, bool, Record]:
        """Open the session of an admitted device."""

        def rule(before: Record | None) -> tuple[Record | None, tuple[Record, bool] | None]:
            if before is None:
                return before, None
            session, present = opened(before.session, clean=clean)
            after = before
            if session != before.session:
                after = replace(before, session=session)
            return after, (after, present)

        found = await self._hub.change(key, rule)
        if found is None:
            return Refused("its identity has just been deleted")
        return peer, key, found[1], found[0]
