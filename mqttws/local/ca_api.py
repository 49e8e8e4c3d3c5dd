"""CA certificates that enrollment groups refer to: uploaded, listed and deleted over HTTP.

In the cloud they are a matter of the resource manager
(``provisioningServices/{name}/certificates/{certificate}``); bodies and answers are those of
``CertificateResponse`` there (``resource-manager/.../iotdps.json``), on the service API's host.
A certificate counts as verified at once: who may upload it here owns the service.
"""

import logging
import uuid
from base64 import b64encode
from typing import Any

from ..dps.answers import new_etag, timestamp
from ..dps.attestation_json import read_der
from ..dps.json_reader import JsonValue
from ..dps.names import is_certificate_name
from ..dps.records import CaCertificate
from ..dps.store import Row
from ..dps.tables import CAS
from ..errors import UsageError
from ..text import shown
from .chains import describe_certificate
from .dps import AsyncLocalDps
from .enrollment_changes import busy, check_etag
from .http_answers import Refused, answer, read_body, web

logger: logging.Logger = logging.getLogger("mqttws.local")

MAX_ATTEMPTS = 10
"""Changes that may be void because another client was faster, before one is given up."""


class CaApi:
    """Answers requests about CA certificates.

    Args:
        dps: whose.
    """

    def __init__(self, dps: AsyncLocalDps) -> None:
        self._dps = dps

    async def put(self, request: web.Request, name: str) -> web.Response:
        """Upload a certificate, or put another one in its place."""
        if not is_certificate_name(name):
            raise UsageError("a certificate's name: 1 to 64 letters, digits, - . or _")
        body = await read_body(request)
        properties = body.get("properties")
        der = read_der(
            JsonValue(properties if isinstance(properties, dict) else body, "", "body").member(
                "certificate"
            )
        )
        for _ in range(MAX_ATTEMPTS):
            before = await self._dps.directory.row(CAS, name)
            check_etag(request, before.value.etag if before.version else "")
            now = timestamp(await self._dps.clock.read())
            ca = CaCertificate(
                before.value.name if before.version else name,
                der,
                new_etag(str(uuid.uuid4())),
                before.value.created if before.version else now,
                now,
            )
            if await self._dps.enrollments.put_ca(ca, before):
                done = "replaced" if before.version else "uploaded"
                logger.info("CA certificate %s: %s", shown(name), done)
                return answer(ca_to_json(ca))
        raise busy()

    async def get(self, request: web.Request, name: str) -> web.Response:
        """Answer with one certificate."""
        return answer(ca_to_json((await self._find(name)).value))

    async def delete(self, request: web.Request, name: str) -> web.Response:
        """Delete a certificate that no group refers to."""
        for _ in range(MAX_ATTEMPTS):
            found = await self._find(name)
            check_etag(request, found.value.etag)
            groups = await self._dps.directory.groups_of_ca(name)
            if groups:
                group = shown(groups[0].value.enrollment_group_id)
                raise Refused(409000, f"Conflict. Enrollment group {group} refers to it.")
            if await self._dps.directory.remove_ca(name, found):
                logger.info("CA certificate %s: deleted", shown(name))
                return web.Response(status=204)
        raise busy()

    async def list(self, request: web.Request, name: str) -> web.Response:
        """Answer with all certificates."""
        return answer({"value": [ca_to_json(ca) for ca in await self._dps.directory.cas()]})

    async def _find(self, name: str) -> Row:
        found = await self._dps.directory.row(CAS, name)
        if not found.version:
            raise Refused(404000, "Certificate not found.")
        return found


def ca_to_json(ca: CaCertificate) -> dict[str, Any]:
    """Return a CA's certificate as a ``CertificateResponse``."""
    found = describe_certificate(ca.der)
    return {
        "id": f"/certificates/{ca.name}",
        "name": ca.name,
        "type": "Microsoft.Devices/provisioningServices/Certificates",
        "etag": ca.etag,
        "properties": {
            "subject": found.common_name or found.subject,
            "expiry": timestamp(found.not_after),
            "thumbprint": found.sha1.upper(),
            "isVerified": True,
            "created": ca.created,
            "updated": ca.last_updated,
            "certificate": b64encode(ca.der).decode(),
        },
    }
