"""Devices that prove themselves with certificates, over real TLS."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from mqttws import (
    AsyncLocalDps,
    CertificateNotValid,
    ExternalKey,
    RegistrationRejected,
    TlsConfig,
    UnusableFile,
    UsageError,
    X509Certificate,
    provision_async,
)
from mqttws.dps.tables import GROUPS
from mqttws.local.x509 import DeviceAuthority
from mqttws.wire import Connect, Decoder, Publish, encode

from .device import register as by_hand
from .device import wish
from .x509_world import HOUR, LateCertificate, group, individual, register

ROOT = DeviceAuthority.root()
FACTORY = ROOT.intermediate("factory")
LINE = FACTORY.intermediate("line")


@pytest.mark.parametrize("transport", ["wss", "mqtts"])
async def test_a_device_registers_with_its_own_enrolled_certificate(
    local_dps: AsyncLocalDps, transport: str
) -> None:
    async with local_dps:
        device = ROOT.issue("sensor-1")
        await local_dps.enroll(individual("Sensor-1", device.certificate, deviceId="Sensor-One"))
        assignment = await register(local_dps, device, transport=transport)
    assert assignment.device_id == "Sensor-One"
    assert assignment.substatus == "initialAssignment"


@pytest.mark.parametrize("authority", [ROOT, FACTORY, LINE])
@pytest.mark.parametrize("transport", ["wss", "mqtts"])
async def test_a_device_registers_with_a_group_at_any_height_of_its_chain(
    local_dps: AsyncLocalDps, authority: DeviceAuthority, transport: str
) -> None:
    async with local_dps:
        await local_dps.enroll(group("fleet", authority))
        assignment = await register(local_dps, LINE.issue("sensor-2"), transport=transport)
        record = await local_dps.registration("sensor-2")
    assert assignment.device_id == "sensor-2"
    assert record is not None
    assert record.enrollment_group_id == "fleet"


async def test_a_self_signed_certificate_may_be_enrolled(local_dps: AsyncLocalDps) -> None:
    async with local_dps:
        # A root of its own, whose common name is the device's: its own issuer.
        alone = DeviceAuthority.root("loner")
        await local_dps.enroll(individual("loner", alone.pem.encode()))
        key = _key_of(alone)
        assert (await register(local_dps, LateCertificate(alone.pem.encode(), key))).device_id


def _key_of(authority: DeviceAuthority) -> bytes:
    from mqttws.local.certificates import key_pem

    return key_pem(authority._key)


@pytest.mark.rule("DPS-T18/service")
async def test_the_most_specific_certificate_decides(local_dps: AsyncLocalDps) -> None:
    async with local_dps:
        await local_dps.enroll(group("wide", ROOT))
        await local_dps.enroll(group("narrow", FACTORY))
        await register(local_dps, LINE.issue("s-1"))
        record = await local_dps.registration("s-1")
        assert record is not None
        assert record.enrollment_group_id == "narrow"
        # A disabled one is the last word: no wider group lets the device in.
        await local_dps.enroll(
            group("narrow", FACTORY, provisioningStatus="disabled"), replace=True
        )
        with pytest.raises(RegistrationRejected) as refused:
            await register(local_dps, LINE.issue("s-2"))
        assert (refused.value.status, refused.value.error_code) == (401, 401002)
        # One device may be let in all the same, and one may be shut out.
        own = LINE.issue("s-3")
        await local_dps.enroll(individual("s-3", own.certificate))
        assert (await register(local_dps, own)).device_id == "s-3"


@pytest.mark.rule("DPS-T18/device")
async def test_a_chain_without_its_intermediates_is_answered_at_register_with_a_hint(
    local_dps: AsyncLocalDps,
) -> None:
    async with local_dps:
        await local_dps.enroll(group("fleet", ROOT))
        device = FACTORY.issue("sensor")
        with pytest.raises(RegistrationRejected) as refused:
            await register(local_dps, LateCertificate(device.certificate, device.key))
        assert (refused.value.status, refused.value.error_code) == (401, 401002)
        assert "sent whole" in refused.value.hint


@pytest.mark.rule("DPS-T18/device")
@pytest.mark.operation("Device API: client certificate (MQTT)")
@pytest.mark.parametrize("transport", ["wss", "mqtts"])
async def test_a_wholly_unknown_chain_is_answered_at_register_with_a_hint(
    local_dps: AsyncLocalDps, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with local_dps:
        key = await local_dps.enroll_device("other")
        await local_dps.enroll(group("fleet", ROOT))
        stranger = DeviceAuthority.root("stranger").issue("sensor")
        with pytest.raises(RegistrationRejected) as refused:
            await register(local_dps, stranger, transport=transport)
        assert (refused.value.status, refused.value.error_code) == (401, 401002)
        assert "certificate" in refused.value.hint
    assert key not in caplog.text


@pytest.mark.rule(
    "DPS-T18/service",
    "DPS-S401/service",
    "DPS-S401/device",
    "DPS-E401002/service",
    "DPS-B-common-name/service",
    "DPS-B-dates/service",
)
@pytest.mark.parametrize(
    "case", ["wrong enrollment", "expired", "not yet", "other name", "key enrollment"]
)
async def test_what_tls_lets_through_is_answered_at_register(
    local_dps: AsyncLocalDps, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mqttws.local")
    status, code = 401, 401002
    async with local_dps:
        await local_dps.enroll(group("fleet", ROOT))
        device = FACTORY.issue("sensor")
        if case == "wrong enrollment":
            await local_dps.enroll(individual("sensor", ROOT.issue("sensor").certificate))
        elif case == "expired":
            device = ROOT.issue("sensor", begins=-2 * HOUR, ends=-HOUR)
        elif case == "not yet":
            device = ROOT.issue("sensor", begins=HOUR, ends=2 * HOUR)
        elif case == "other name":
            device = ROOT.issue("another")
            await local_dps.enroll_device("sensor")
        else:
            await local_dps.enroll_device("sensor")
        with pytest.raises(RegistrationRejected) as refused:
            await register(local_dps, _named(device, "sensor"))
        assert (refused.value.status, refused.value.error_code) == (status, code)
        assert refused.value.hint
    told = {"expired": "expired at 20", "not yet": "not valid before 20"}.get(case, "401002")
    assert told in caplog.text
    if case in ("expired", "not yet"):
        assert "certificate 1 of 2 in the chain, 'CN=sensor" in caplog.text


async def test_a_deleted_ca_is_forgotten_and_one_with_its_name_takes_its_place(
    local_dps: AsyncLocalDps,
) -> None:
    old, new = DeviceAuthority.root("fleet CA"), DeviceAuthority.root("fleet CA")
    async with local_dps:
        await local_dps.enroll(group("fleet", old))
        await register(local_dps, old.issue("sensor"))
        await local_dps.enroll(group("fleet", new), replace=True)
        await register(local_dps, new.issue("another"))
        with pytest.raises(RegistrationRejected):
            await register(local_dps, old.issue("third"))
        row = await local_dps.directory.row(GROUPS, "fleet")
        assert await local_dps.enrollments.remove(row.value, row)
        with pytest.raises(RegistrationRejected):
            await register(local_dps, new.issue("fourth"))


class _Misnamed(LateCertificate):
    """A device that says another name than its certificate."""

    __slots__ = ()

    registration_id = "sensor"  # type: ignore[assignment]


def _named(device: object, name: str) -> X509Certificate:
    assert hasattr(device, "chain")
    assert hasattr(device, "key")
    return _Misnamed(device.chain, device.key)


async def test_enrolling_takes_effect_without_a_restart(local_dps: AsyncLocalDps) -> None:
    async with local_dps:
        for number in range(3):
            authority = DeviceAuthority.root(f"vendor {number}")
            device = authority.issue(f"device-{number}")
            with pytest.raises(RegistrationRejected):
                await register(local_dps, device)
            await local_dps.enroll(group(f"fleet-{number}", authority))
            assert (await register(local_dps, device)).device_id == f"device-{number}"


async def test_a_device_with_a_key_needs_no_certificate(local_dps: AsyncLocalDps) -> None:
    from mqttws import SymmetricKey, TlsConfig, provision_async

    async with local_dps:
        await local_dps.enroll(group("fleet", ROOT))
        key = await local_dps.enroll_device("keyed")
        assignment = await provision_async(
            local_dps.id_scope,
            SymmetricKey("keyed", key),
            host=local_dps.host,
            port=local_dps.wss_port,
            tls=TlsConfig(ca=local_dps.ca_file, only_ca=True),
        )
    assert assignment.device_id == "keyed"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_device_that_would_resume_its_tls_session_shows_its_chain_again(
    local_dps: AsyncLocalDps, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """A resumed session knows no chain: the service would see a device without a certificate."""
    device = LINE.issue("sensor")
    (tmp_path / "device.pem").write_bytes(device.chain + device.key)

    def come_twice(dps: AsyncLocalDps) -> list[str]:
        context = ssl.create_default_context(cafile=str(dps.ca_file))
        context.load_cert_chain(tmp_path / "device.pem")
        context.maximum_version = version
        session = None
        topics = []
        for _ in range(2):
            plain = socket.create_connection((dps.host, dps.mqtts_port or 0), timeout=20)
            with context.wrap_socket(plain, server_hostname=dps.host, session=session) as stream:
                username = f"{dps.id_scope}/registrations/sensor/api-version=2019-03-31"
                hello = Connect("sensor", username=username)
                for packet in (hello, wish(), by_hand(qos=0)):
                    stream.sendall(encode(packet))
                decoder = Decoder()
                while not isinstance(packet := decoder.next_packet(), Publish):
                    if packet is None:
                        decoder.feed(stream.recv(65536))
                topics.append(packet.topic)
                session = stream.session
        return topics

    async with local_dps as dps:
        await dps.enroll(group("fleet", ROOT))
        topics = await asyncio.to_thread(come_twice, dps)
    assert topics == ["$dps/registrations/res/202/?$rid=1&retry-after=0"] * 2


# The credential


def test_a_certificate_comes_from_files_or_memory(tmp_path: Path) -> None:
    device = FACTORY.issue("sensor")
    (tmp_path / "chain.pem").write_bytes(device.chain)
    (tmp_path / "key.pem").write_bytes(device.key)
    from_files = X509Certificate(tmp_path / "chain.pem", str(tmp_path / "key.pem"))
    assert from_files == X509Certificate(device.chain, device.key)
    assert from_files.registration_id == "sensor"
    assert from_files.fingerprint == X509Certificate(device.chain, device.key).fingerprint
    assert "PRIVATE" not in repr(from_files)


@pytest.mark.rule("DPS-B-common-name/device")
def test_a_bad_certificate_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    device, other = FACTORY.issue("sensor"), FACTORY.issue("other")
    for arguments, told in (
        ((b"nothing", device.key), "no certificate"),
        ((device.chain, b"nothing"), "private key"),
        ((device.chain, other.key), "does not belong"),
    ):
        with pytest.raises(UsageError, match=told):
            X509Certificate(*arguments)
    with pytest.raises(UnusableFile, match=r"none\.pem"):
        X509Certificate(tmp_path / "none.pem", device.key)
    with pytest.raises(UsageError, match="common name"):
        X509Certificate(device.chain, device.key, registration_id="another")
    with pytest.raises(UsageError, match="password"):
        X509Certificate(device.chain, device.key, key_password="secret")


@pytest.mark.rule("DPS-B-dates/device")
def test_dates_are_looked_at_before_anything_is_sent() -> None:
    device = ROOT.issue("sensor", ends=HOUR)
    credential = X509Certificate(device.chain, device.key)
    assert credential.password("0ne", _now()) is None
    with pytest.raises(CertificateNotValid, match="expired"):
        credential.password("0ne", _now() + 7200)
    with pytest.raises(CertificateNotValid, match="not valid before"):
        credential.password("0ne", _now() - 7200)


def _now() -> float:
    from datetime import UTC, datetime

    return datetime.now(UTC).timestamp()


def test_a_ready_context_is_refused() -> None:
    device = ROOT.issue("sensor")
    with pytest.raises(UsageError, match="TLS context of its own"):
        X509Certificate(device.chain, device.key).context(ssl.create_default_context())


async def test_a_context_that_shows_the_certificate_already_registers(
    local_dps: AsyncLocalDps, tmp_path: Path
) -> None:
    async with local_dps:
        device = FACTORY.issue("sensor")
        await local_dps.enroll(group("fleet", ROOT))
        (tmp_path / "both.pem").write_bytes(device.chain + device.key)
        context = ssl.create_default_context(cafile=str(local_dps.ca_file))
        context.load_cert_chain(tmp_path / "both.pem")
        credential = ExternalKey("sensor")
        assigned = await provision_async(
            local_dps.id_scope,
            credential,
            host=local_dps.host,
            port=local_dps.wss_port,
            tls=context,
        )
        assert assigned.device_id == "sensor"
        assert credential.context(context) is context
    assert repr(credential) == "ExternalKey('sensor')"
    for tls in (None, TlsConfig()):
        with pytest.raises(UsageError, match="shows the certificate"):
            credential.context(tls)
