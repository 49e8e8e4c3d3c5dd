"""Devices with certificates, and a local service to register with."""

from datetime import timedelta
from typing import Any

from mqttws import Assignment, AsyncLocalDps, TlsConfig, X509Certificate, provision_async
from mqttws.local.x509 import DeviceAuthority, Issued

HOUR = timedelta(hours=1)


class LateCertificate(X509Certificate):
    """A certificate whose device does not look at its dates."""

    __slots__ = ()

    def password(self, id_scope: str, unix_now: float) -> None:
        return None


def individual(registration_id: str, certificate: bytes, **members: object) -> dict[str, Any]:
    certificates = {"primary": {"certificate": certificate.decode()}}
    return {
        "registrationId": registration_id,
        "attestation": {"type": "x509", "x509": {"clientCertificates": certificates}},
        **members,
    }


def group(name: str, authority: DeviceAuthority, **members: object) -> dict[str, Any]:
    certificates = {"primary": {"certificate": authority.pem}}
    return {
        "enrollmentGroupId": name,
        "attestation": {"type": "x509", "x509": {"signingCertificates": certificates}},
        **members,
    }


async def register(
    dps: AsyncLocalDps,
    device: Issued | X509Certificate,
    *,
    transport: str = "wss",
    **options: Any,
) -> Assignment:
    credential = (
        device if isinstance(device, X509Certificate) else LateCertificate(device.chain, device.key)
    )
    return await provision_async(
        dps.id_scope,
        credential,
        host=dps.host,
        port=dps.wss_port if transport == "wss" else dps.mqtts_port,
        transport=transport,  # type: ignore[arg-type]
        tls=TlsConfig(ca=dps.ca_file, only_ca=True),
        **options,
    )
