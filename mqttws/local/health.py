"""``/healthz`` and ``/readyz``, without any token: whether a front end lives, and can serve.

Knows the store, which readiness depends on. Shows nothing of what the service holds.
"""

from ..dps.store import Store
from ..dps.tables import GROUPS_MARK, MARKS
from ..errors import StoreFailed
from .http_answers import web
from .http_door import Connection

PATHS = frozenset(("healthz", "readyz"))


class HealthDoor:
    """Answers a load balancer's questions.

    Args:
        store: of the service.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def serves(self, parts: list[str]) -> bool:
        """Return whether a path is one of the two."""
        return len(parts) == 1 and parts[0] in PATHS

    async def answer(self, request: web.Request, connection: Connection) -> web.StreamResponse:
        """Return the answer to a request."""
        return await self.look(request)

    async def look(self, request: web.Request) -> web.Response:
        """Answer 200, or 503 where it is not ready: its records cannot be used."""
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        if request.path.strip("/") == "readyz":
            try:
                await self._store.load((MARKS, GROUPS_MARK))
            except StoreFailed:  # the store itself has said why
                return web.Response(status=503, text="the records cannot be used\n")
        return web.Response(text="ok\n")
