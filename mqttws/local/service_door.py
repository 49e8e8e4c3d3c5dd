"""The service API over TLS: each request brings a shared access signature, as to the cloud.

Knows signatures and rights. What a request does is ``ServiceApi``'s matter.
"""

from ..hub.service.access import service_fault
from .dps import AsyncLocalDps
from .http_answers import Refused, host_names, log_refusal, refusal_of, refuse, web
from .http_door import Connection
from .service_api import ROOTS, ServiceApi


class ServiceDoor:
    """Lets in the requests of the service API that a policy grants.

    Args:
        dps: running.
    """

    def __init__(self, dps: AsyncLocalDps) -> None:
        self._dps = dps
        self._api = ServiceApi(dps, self._admit, strict=True)

    def serves(self, parts: list[str]) -> bool:
        """Return whether a path is the service API's."""
        return parts[0].lower() in ROOTS

    async def answer(self, request: web.Request, connection: Connection) -> web.StreamResponse:
        """Return the answer to a request; a refusal is one line in the log."""
        try:
            return await self._api.answer(request)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            log_refusal(connection.label, request, refusal)
            return refuse(refusal)

    def _admit(self, request: web.Request, right: str) -> None:
        """Refuse a request without a signature, made with a key of a policy with this right."""
        authorization = request.headers.get("Authorization", "")
        fault: str | None = "no Authorization header"
        if authorization:
            policies = self._dps.policies
            fault = service_fault(
                authorization, host_names(request), right, policies, self._dps.clock.now()
            )
        if fault is None:
            return
        raise Refused(401002, "Unauthorized", f"not let in: {fault}")
