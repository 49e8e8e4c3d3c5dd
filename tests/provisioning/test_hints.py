"""Hints of a registration that fails: each says what can be done in this very case."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mqttws import (
    AsyncLocalDps,
    CertificateRejected,
    MqttwsError,
    SymmetricKey,
    TlsConfig,
    X509Certificate,
    provision_async,
)
from mqttws.hops import Party
from mqttws.wire import ConnAck

from ..net.rogue import Certificates
from .scripted_dps import Service, registered, scripted_dps


def device_certificate(*uses: x509.ObjectIdentifier) -> tuple[X509Certificate, bytes]:
    """Return a self-signed certificate for these uses, and its PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dev")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
    )
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return X509Certificate(pem, key_pem), pem


async def test_connack_3_thinks_of_the_endpoint_in_china(certificates: Certificates) -> None:
    async def script(service: Service) -> None:
        await service.peer.packet()
        service.peer.send(ConnAck(return_code=3))

    async with scripted_dps(certificates, script) as seen:
        with pytest.raises(MqttwsError) as caught:
            await registered(seen, certificates, timeout=5.0)
    assert "global.azure-devices-provisioning.cn" in caught.value.hint


@pytest.mark.parametrize("code", [401000, 401002])
async def test_a_certificate_that_the_service_has_not_seen_needs_no_other_key(
    certificates: Certificates, code: int
) -> None:
    async def script(service: Service) -> None:
        await service.welcome()
        request_id = await service.request()
        service.answer(401, {"errorCode": code, "message": "Unauthorized"}, f"$rid={request_id}")
        await service.peer.packet()

    async with scripted_dps(certificates, script) as seen:
        with pytest.raises(MqttwsError) as caught:
            await provision_async(
                "0ne00SCRIPT",
                device_certificate()[0],
                host="127.0.0.1",
                port=seen.port,
                transport="mqtts",
                tls=TlsConfig(ca=certificates.ca_file, only_ca=True),
                proxy=None,
            )
    assert "a proxy that re-signs TLS cannot pass" in caught.value.hint
    assert "check the key" not in caught.value.hint


async def test_a_certificate_for_servers_has_its_use_in_the_hint(
    dps_state: Path,
) -> None:
    credential, pem = device_certificate(ExtendedKeyUsageOID.SERVER_AUTH)
    async with AsyncLocalDps(state=dps_state) as dps:
        attestation = {"x509": {"clientCertificates": {"primary": {"certificate": pem.decode()}}}}
        await dps.enroll({"registrationId": "dev", "attestation": {"type": "x509", **attestation}})
        with pytest.raises(MqttwsError) as caught:
            await provision_async(
                dps.id_scope,
                credential,
                host=dps.host,
                port=dps.mqtts_port,
                transport="mqtts",
                tls=TlsConfig(ca=dps.ca_file, only_ca=True),
                timeout=5.0,
            )
    assert "extended key usage" in caught.value.hint


async def test_the_facts_of_a_rejected_certificate_are_of_the_handshake_that_failed(
    dps_state: Path,
) -> None:
    async with AsyncLocalDps(state=dps_state) as dps:
        key = await dps.enroll_device("dev")
        await dps.fault("expired-certificate")  # once: the next handshake shows a good one
        with pytest.raises(CertificateRejected) as caught:
            await provision_async(
                dps.id_scope,
                SymmetricKey("dev", key),
                host=dps.host,
                port=dps.wss_port,
                tls=TlsConfig(ca=dps.ca_file, only_ca=True),
            )
    facts = caught.value.certificate
    assert facts is not None
    assert facts.not_after < datetime.now(UTC)
    assert "days ago" in caught.value.hint
    assert "-" not in caught.value.hint.partition(" days ago")[0].rpartition(" ")[2]
    assert caught.value.party is Party.SERVER


@pytest.mark.parametrize("status", [409, 412])
async def test_a_conflict_to_the_end_names_another_program(
    certificates: Certificates, status: int
) -> None:
    async def script(service: Service) -> None:
        await service.welcome()
        while True:
            request_id = await service.request()
            service.answer(status, {"message": "conflict"}, f"$rid={request_id}&retry-after=9")

    async with scripted_dps(certificates, script) as seen:
        with pytest.raises(MqttwsError) as caught:
            await registered(seen, certificates, timeout=5.0)
    assert f"answered: {status} once" in f"{caught.value} {caught.value.hint}"
    assert "another client with this registration id" in caught.value.hint
