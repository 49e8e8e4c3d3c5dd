"""Certificates that DPS issues: stored whole, checked, used again, renewed, and refused clearly."""

import asyncio
import logging
import os
import pickle
import ssl
import stat
import time
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import cryptography
import pytest
from cryptography.hazmat.primitives import serialization

from mqttws import (
    Assignment,
    AsyncLocalDps,
    AsyncLocalHub,
    Cause,
    CertificateNotIssued,
    CertificateStore,
    CredentialPolicy,
    HopTimedOut,
    MalformedAnswer,
    ProvisioningError,
    RegistrationFailed,
    RegistrationRejected,
    StoreDamaged,
    StoreFailed,
    SymmetricKey,
    TlsConfig,
    Unreachable,
    UsageError,
    X509Certificate,
    provision_async,
)
from mqttws.dps.issuance import ChainFault
from mqttws.local.x509 import DeviceAuthority
from mqttws.net.tls import Tls
from mqttws.provisioning.issued import FILE, PREVIOUS

from ..local.x509_world import group
from ..ports import free_port

DAY = 86_400.0


async def enrolled(dps: AsyncLocalDps, policy: str = "default") -> SymmetricKey:
    return SymmetricKey("dev", await dps.enroll_device("dev", credential_policy=policy))


async def issue(
    dps: AsyncLocalDps, key: Any, store: CertificateStore, **options: Any
) -> Assignment:
    return await provision_async(dps.id_scope, key, issue=store, **{**dps.options, **options})


def print_of(store: CertificateStore) -> str:
    found = store.load()
    assert found is not None
    return found.fingerprint


async def test_a_device_registers_by_key_and_has_a_certificate_for_its_hub(tmp_path: Path) -> None:
    async with AsyncLocalDps(retry_after=0) as dps, AsyncLocalHub(dps) as hub:
        key, store = await enrolled(dps), CertificateStore(tmp_path / "device")
        assignment = await issue(dps, key, store)
        file = tmp_path / "device" / FILE
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert [one.name for one in file.parent.iterdir()] == [FILE]
        assert file.read_bytes().count(b"BEGIN CERTIFICATE") == 3
        tls = TlsConfig(ca=dps.ca_file, only_ca=True)
        way: dict[str, Any] = {"host": dps.host, "port": dps.wss_port, "tls": tls}
        async with assignment.client_async(**way) as client:
            await client.publish("devices/dev/messages/events/", b"1", qos=1)
        async with assignment.hub_client_async(**way) as device:
            await device.send_telemetry(b"2")
        assert [(await hub.next_telemetry(5)).payload for _ in range(2)] == [b"1", b"2"]
        async with client_of(dps, store) as client:
            await client.publish("devices/dev/messages/events/", b"3", qos=1)
        refused = assignment.client_async(key, **way)  # its identity is the certificate's now
        with pytest.raises(Exception, match=r"not authorized|CONNACK|refused"):
            await refused.connect()


def client_of(dps: AsyncLocalDps, store: CertificateStore) -> Any:
    """Return a client made from the folder alone, as after a restart."""
    found = CertificateStore(store._folder).load()
    assert found is not None
    assert found.assignment is not None
    tls = TlsConfig(ca=dps.ca_file, only_ca=True)
    return found.assignment.client_async(
        CertificateStore(store._folder), host=dps.host, port=dps.wss_port, tls=tls
    )


async def test_a_stored_certificate_is_used_again_until_it_is_due(tmp_path: Path) -> None:
    async with AsyncLocalDps(retry_after=0) as dps:
        key, store = await enrolled(dps), CertificateStore(tmp_path)
        first = await issue(dps, key, store)
        before = print_of(store)
        assert await issue(dps, key, CertificateStore(tmp_path), port=free_port()) == first
        elsewhere = {"host": "127.0.0.2", "port": free_port()}
        with pytest.raises(Unreachable):  # of another DPS it is none
            await issue(dps, key, CertificateStore(tmp_path), **elsewhere)
        again = await issue(dps, key, CertificateStore(tmp_path), force=True)
        assert again.operation_id != first.operation_id
        assert print_of(store) != before
        other = SymmetricKey("DEV2", await dps.enroll_device("DEV2", credential_policy="default"))
        assert (await issue(dps, other, store)).device_id == "DEV2"


async def test_a_certificate_that_is_due_is_issued_anew_or_serves_while_dps_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncLocalDps(retry_after=0) as dps:
        key = await enrolled(dps)
        first = await issue(dps, key, CertificateStore(tmp_path))
        due = CertificateStore(tmp_path, renew_after=1e-9)
        assert due.is_due(time.time() + 1)
        nobody = {"port": free_port(), "timeout": 0.5}
        await asyncio.sleep(1.1)  # a thousand-millionth of its life: X.509 counts in seconds
        assert await issue(dps, key, due, **nobody) == first
        assert "was not renewed, but is valid" in caplog.text
        with pytest.raises((Unreachable, HopTimedOut)):
            await issue(dps, key, due, force=True, **nobody)
        assert (await issue(dps, key, due)).operation_id != first.operation_id


@pytest.mark.parametrize("fault", get_args(ChainFault))
async def test_a_chain_that_cannot_be_used_is_an_error_and_is_not_stored(
    tmp_path: Path, fault: ChainFault
) -> None:
    async with AsyncLocalDps(retry_after=0) as dps:
        key, store = await enrolled(dps), CertificateStore(tmp_path)
        await dps.fault("bad-chain", "dev", chain=fault)
        kind = MalformedAnswer if fault == "broken" else CertificateNotIssued
        with pytest.raises(kind) as failed:
            await issue(dps, key, store)
        lack = fault in ("missing", "empty")
        wanted = Cause.CERTIFICATE_NOT_ISSUED if lack else Cause.ISSUED_CERTIFICATE_UNUSABLE
        assert failed.value.cause is (Cause.ANSWER_MALFORMED if fault == "broken" else wanted)
        assert not failed.value.retryable
        assert os.listdir(tmp_path) == []
        await issue(dps, key, store)
        before = print_of(store)
        await dps.fault("bad-chain", "dev", chain=fault)
        with pytest.raises(ProvisioningError):
            await issue(dps, key, store, force=True)
        assert print_of(store) == before


async def test_throttling_is_waited_for_and_the_refusal_of_the_ca_is_an_error(
    tmp_path: Path,
) -> None:
    async with AsyncLocalDps(retry_after=0) as dps:
        key = await enrolled(dps)
        await dps.fault("answer", "dev", hop="register", status=429, retry_after=0)
        await issue(dps, key, CertificateStore(tmp_path))
        named = HardKey(common_name="another")
        with pytest.raises(UsageError, match="a request for 'another', not for 'dev'"):
            await issue(dps, key, CertificateStore(tmp_path / "2", key=named))
        forged = HardKey(forged=True)
        with pytest.raises(RegistrationFailed, match="InvalidSignature") as refused:
            await issue(dps, key, CertificateStore(tmp_path / "3", key=forged))
        assert refused.value.cause is Cause.CERTIFICATE_NOT_ISSUED


async def test_a_service_that_issues_no_certificate_ends_in_a_clear_error(tmp_path: Path) -> None:
    async with AsyncLocalDps(retry_after=0) as dps:
        key = await enrolled(dps, policy="")
        with pytest.raises(RegistrationRejected, match="it has none") as refused:
            await issue(dps, key, CertificateStore(tmp_path))
        assert refused.value.cause is Cause.CERTIFICATE_NOT_ISSUED
        assert "may not know certificate requests" in refused.value.hint
        with pytest.raises(RegistrationRejected) as refused:
            await issue(dps, key, CertificateStore(tmp_path), payload={"a": 1})
        assert refused.value.cause is Cause.REQUEST_REFUSED  # the payload may be at fault too
        assert "may not know certificate requests" in refused.value.hint
        assert os.listdir(tmp_path) == []


async def test_the_api_version_is_raised_only_for_a_certificate(tmp_path: Path) -> None:
    names: list[str] = []

    def note(direction: str, packet: Any) -> None:
        if direction == ">" and type(packet).__name__ == "Connect":
            names.append(packet.username.partition("api-version=")[2].partition("&")[0])

    async with AsyncLocalDps(retry_after=0) as dps:
        key = await enrolled(dps)
        store = CertificateStore(tmp_path)
        await provision_async(dps.id_scope, key, on_packet=note, **dps.options)
        await issue(dps, key, store, on_packet=note)
        await issue(dps, key, store, on_packet=note, force=True, api_version="2025-07-01-preview")
        assert names == ["2019-03-31", "2026-11-01", "2025-07-01-preview"]
        with pytest.raises(UsageError, match="has no certificate requests"):
            await issue(dps, key, store, api_version="2021-06-01")
        with pytest.raises(UsageError, match="cache and issue"):
            await issue(dps, key, store, cache=tmp_path / "cache")


async def test_a_hub_of_another_protocol_ends_in_a_clear_error(tmp_path: Path) -> None:
    profiles = {"local-hub.azure-devices.net": "mqttV5"}
    async with AsyncLocalDps(retry_after=0, connection_profiles=profiles) as dps:
        key = await enrolled(dps)
        await provision_async(dps.id_scope, key, **dps.options)  # an older version does not see it
        with pytest.raises(RegistrationFailed, match="MQTT 5 only"):
            await provision_async(
                dps.id_scope, key, api_version="2026-11-02-preview", **dps.options
            )


async def test_a_device_with_a_certificate_of_its_maker_is_issued_another(tmp_path: Path) -> None:
    authority = DeviceAuthority.root().intermediate("maker")
    made = authority.issue("dev")
    record = group("fleet", authority, credentialPolicyName="default")
    async with AsyncLocalDps(retry_after=0) as dps, AsyncLocalHub(dps):
        await dps.enroll(record)
        store = CertificateStore(tmp_path)
        await issue(dps, X509Certificate(made.chain, made.key), store)
        async with client_of(dps, store) as client:
            await client.publish("devices/dev/messages/events/", b"1", qos=1)


# The store alone


class HardKey:
    """A key as hardware has it: it makes requests and contexts, and is never read."""

    def __init__(self, common_name: str = "", *, forged: bool = False) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = common_name
        self._forged = forged
        self.requests = 0

    def request(self, common_name: str) -> bytes:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.serialization import Encoding
        from cryptography.x509.oid import NameOID

        self.requests += 1
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._name or common_name)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(name)
        request = builder.sign(self._key, hashes.SHA256())
        if self._forged:
            der = request.public_bytes(Encoding.DER)
            return der[:-1] + bytes([der[-1] ^ 1])
        return request.public_bytes(Encoding.PEM)

    def context(self, chain_file: Path, tls: Tls) -> ssl.SSLContext:
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        key = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        assert isinstance(tls, TlsConfig)
        return TlsConfig(
            ca=tls.ca, only_ca=True, certificate=chain_file.read_bytes(), key=key
        ).context()


async def test_a_key_in_hardware_is_never_in_the_folder(tmp_path: Path) -> None:
    async with AsyncLocalDps(retry_after=0) as dps, AsyncLocalHub(dps) as hub:
        key, hard = await enrolled(dps), HardKey()
        assignment = await issue(dps, key, CertificateStore(tmp_path, key=hard))
        assert b"PRIVATE KEY" not in (tmp_path / FILE).read_bytes()
        tls = TlsConfig(ca=dps.ca_file, only_ca=True)
        async with assignment.hub_client_async(host=dps.host, port=dps.wss_port, tls=tls) as device:
            await device.renew_certificate()
            await device.send_telemetry(b"x")
        assert (await hub.next_telemetry(5)).payload == b"x"
        assert hard.requests == 2
        # Without the hardware the chain alone is nothing.
        assert CertificateStore(tmp_path).load() is None


async def stored(folder: Path, policy: CredentialPolicy | None = None) -> CertificateStore:
    policies = [] if policy is None else [policy]
    async with AsyncLocalDps(retry_after=0, credential_policies=policies) as dps:
        store = CertificateStore(folder)
        await issue(dps, await enrolled(dps), store)
    return store


async def test_a_damaged_file_is_as_good_as_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    store = await stored(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    secret = whole.partition(b"PRIVATE KEY-----")[2][:40].decode().strip()
    for damaged in (
        b"",
        whole[: len(whole) // 3],
        whole[:-300],
        whole.replace(b'"assign', b"'a"),
        b"# mqttws: []\n" + whole.partition(b"\n")[2],
        b"\xff" * 100,
    ):
        (tmp_path / FILE).write_bytes(damaged)
        assert store.load() is None
        assert CertificateStore(tmp_path).renewal_time() is None
        with pytest.raises(StoreDamaged, match="cannot be used") as caught:
            store.context(None)
        assert secret not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    (tmp_path / FILE).write_bytes(whole)
    assert CertificateStore(tmp_path).load() is not None
    assert secret not in caplog.text + repr(store) + repr(store.load())


async def test_the_pair_before_is_kept_until_the_hub_accepts_the_new_one(tmp_path: Path) -> None:
    store = await stored(tmp_path)
    first = print_of(store)
    assert not store.revert()
    store.confirm()
    async with AsyncLocalDps(retry_after=0) as dps:
        key = await enrolled(dps)
        for _ in range(2):  # a second pair that no hub has accepted does not push the first out
            await issue(dps, key, store, force=True)
            assert print_of(store) != first
        with (
            pytest.raises(StoreFailed, match="before this one"),
            mock.patch.object(
                Path, "replace", side_effect=PermissionError(13, "Permission denied")
            ),
        ):
            store.revert()
        assert store.revert()
        assert print_of(store) == first
        assert not (tmp_path / PREVIOUS).exists()
        await issue(dps, key, store, force=True)
        store.confirm()
        assert not (tmp_path / PREVIOUS).exists()
        assert not store.revert()
    left = [tmp_path / f".{FILE}.killed", tmp_path / f".{PREVIOUS}.killed"]
    for file in left:
        file.write_bytes(b"half")
    async with AsyncLocalDps(retry_after=0) as dps:
        await issue(dps, await enrolled(dps), store, force=True)
    assert not any(file.exists() for file in left)


async def test_an_expired_pair_is_not_gone_back_to(tmp_path: Path) -> None:
    store = await stored(tmp_path, CredentialPolicy("default", 60))
    short = (tmp_path / FILE).read_bytes()
    await stored(tmp_path)
    (tmp_path / PREVIOUS).write_bytes(short)
    with mock.patch("mqttws.provisioning.issued.time.time", return_value=time.time() + 61):
        assert not store.revert()
    assert store.revert(), "it was the time alone"


async def test_a_folder_that_cannot_be_used_is_told_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("x")
    async with AsyncLocalDps(retry_after=0) as dps:
        key = await enrolled(dps)
        with pytest.raises(StoreFailed):
            await issue(dps, key, CertificateStore(tmp_path / "file" / "below"), port=free_port())


def test_wrong_arguments_of_a_store_are_named(tmp_path: Path) -> None:
    for wrong, word in (
        ({"folder": 5}, "folder"),
        ({"folder": ""}, "folder"),
        ({"folder": tmp_path, "key": object()}, "key"),
        ({"folder": tmp_path, "key": HardKey}, "key"),
        ({"folder": tmp_path, "renew_after": 0}, "renew_after"),
        ({"folder": tmp_path, "renew_after": 1}, "renew_after"),
        ({"folder": tmp_path, "renew_after": True}, "renew_after"),
    ):
        with pytest.raises(UsageError, match=f"^{word}: found"):
            CertificateStore(**wrong)  # type: ignore[arg-type]
    store = CertificateStore(tmp_path)
    for secret in (store, store.begin("dev")):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(secret)
    with pytest.raises(UsageError, match="no certificate is stored"):
        store.registration_id  # noqa: B018
    with pytest.raises(UsageError, match="no certificate is stored"):
        store.begin_renewal()
    assert store.expires_at() is None


NULL_REFUSED = 49
"""The first version of cryptography that reads no such request."""


@pytest.mark.parametrize("size", [1, 30, 64])
def test_a_request_as_tpm_providers_write_it_is_mended(size: int) -> None:
    """NULL after ecdsa-with-SHA256, where RFC 5758 has nothing; the signature stays valid."""
    from cryptography import x509

    from mqttws.provisioning.pending import _without_null

    der = x509.load_pem_x509_csr(HardKey().request("d" * size)).public_bytes(
        serialization.Encoding.DER
    )
    assert _without_null(der) == der
    at = der.rfind(bytes.fromhex("300a06082a8648ce3d040302"))
    header = 2 + (der[1] & 0x7F if der[1] & 0x80 else 0)
    inner = der[header:at] + b"\x30\x0c" + der[at + 2 : at + 12] + b"\x05\x00" + der[at + 12 :]
    size_of = len(inner).to_bytes(1 if len(inner) < 256 else 2)
    odd = b"\x30" + bytes([0x80 | len(size_of)]) * (len(inner) >= 128) + size_of + inner
    if int(cryptography.__version__.split(".")[0]) >= NULL_REFUSED:
        with pytest.raises(ValueError, match="parsing"):
            x509.load_der_x509_csr(odd)
    assert _without_null(odd) == der
