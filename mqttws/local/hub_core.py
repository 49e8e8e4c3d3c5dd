"""One hub's work: load a record, decide, commit, and carry the effects out.

Knows the store, the live connections, and who waits for a method's answer. Does not know MQTT, HTTP
or ports: connections and REST call it. The rules are ``hub.service``'s.
"""

import asyncio
import time

from ..hub.service.methods import displaced
from .hub_base import Connection
from .hub_identities import IdentityWork
from .hub_issuance import IssuanceWork
from .hub_messages import MessageWork
from .hub_methods import MethodWork


class Hub(IdentityWork, MethodWork, MessageWork, IssuanceWork):
    """One hub; see ``HubBase`` for its arguments."""

    # Connections

    def connected(self, connection: Connection) -> None:
        """Take in a device's new connection; its older one ends first, without a packet."""
        identity = connection.record.identity
        key = (identity.device_id, identity.module_id)
        older = self.connections.pop(key, None)
        if older is not None:
            for request_id, of in list(self._call_of.items()):
                if of == key:
                    self.answered(key, request_id, displaced())
            older.close("taken over by a new connection of the same device (400027)")
        self.connections[key] = connection
        self.seen[key] = time.time()
        self.events.add("deviceConnected", *key)

    def disconnected(self, connection: Connection) -> None:
        """Forget a closed connection."""
        identity = connection.record.identity
        key = (identity.device_id, identity.module_id)
        if self.connections.get(key) is connection:
            del self.connections[key]
        self.seen[key] = time.time()
        self.events.add("deviceDisconnected", *key)

    async def start(self) -> None:
        """Watch the queues that were stored before."""
        after = ("", "")
        while found := await self.store.list(self.name, after=after):
            for record in found:
                identity = record.identity
                self._watch_expiry(self.key(identity.device_id, identity.module_id), record)
            after = (found[-1].identity.device_id, found[-1].identity.module_id)

    async def stop(self) -> None:
        """End what goes on behind; the connections are their listener's matter."""
        for timer in self._expiries.values():
            timer.cancel()
        self._expiries.clear()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
