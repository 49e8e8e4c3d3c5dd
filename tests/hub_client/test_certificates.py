"""Certificates renewed over the hub: by hand and by themselves, through faults and reconnects."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

import mqttws
from mqttws import (
    AsyncHubClient,
    AsyncLocalDps,
    AsyncLocalHub,
    Cause,
    CertificateNotIssued,
    CertificateStore,
    ConnectRefused,
    CredentialPolicy,
    HubRequestRejected,
    RequestTimedOut,
    SymmetricKey,
    TlsConfig,
    UsageError,
    provision_async,
)
from mqttws.dps.issuance import ChainFault
from mqttws.hub.credentials import ISSUE_API_VERSION
from mqttws.hub_client import certificates

DEADLINE = 10.0
Transport = Literal["wss", "mqtts"]


@asynccontextmanager
async def world(
    folder: Path, validity: float = 600, **store: Any
) -> AsyncIterator[tuple[AsyncLocalHub, CertificateStore]]:
    """A hub, and a device that has been issued its first certificate."""
    policy = CredentialPolicy("default", validity)
    state = folder / "state"
    async with (
        AsyncLocalDps(retry_after=0, credential_policies=[policy], state=state) as dps,
        AsyncLocalHub(dps) as hub,
    ):
        key = SymmetricKey("dev", await dps.enroll_device("dev", credential_policy="default"))
        certificate = CertificateStore(folder / "device", **store)
        await provision_async(dps.id_scope, key, issue=certificate, **dps.options)
        yield hub, certificate


def client(
    hub: AsyncLocalHub,
    credential: Any,
    transport: Transport = "wss",
    **options: Any,
) -> AsyncHubClient:
    port = hub.wss_port if transport == "wss" else hub.mqtts_port
    tls = TlsConfig(ca=hub.dps.ca_file, only_ca=True)
    way: dict[str, Any] = {"host": hub.host, "port": port, "transport": transport, "tls": tls}
    return AsyncHubClient(hub.name, "dev", credential, **way | options)


def print_of(store: CertificateStore) -> str:
    found = store.load()
    assert found is not None
    return found.fingerprint


async def arrives(device: AsyncHubClient, hub: AsyncLocalHub, body: bytes) -> None:
    await device.send_telemetry(body)
    # A renewal may cut the one before off from its PUBACK: then it has come twice.
    async with asyncio.timeout(DEADLINE):
        while (await hub.next_telemetry(DEADLINE)).payload != body:
            pass


async def until(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.rule("HUB-38")
@pytest.mark.parametrize("transport", get_args(Transport))
async def test_a_device_goes_from_its_key_to_a_renewed_certificate(
    tmp_path: Path, transport: Transport
) -> None:
    """Register by key, be issued, connect, and be renewed at half the certificate's life."""
    async with world(tmp_path, validity=8) as (hub, store):
        first = store.load()
        assert first is not None
        async with client(hub, store, transport, auto_renew=True) as device:
            await arrives(device, hub, b"first")
            await until(lambda: print_of(store) != first.fingerprint)
            assert time.time() - first.begins >= 4.0
            await until(lambda: hub.core.connections and device.connected)
            await arrives(device, hub, b"second")
            second = print_of(store)
            await asyncio.sleep(max(0.0, first.ends + 1.0 - time.time()))
            await arrives(device, hub, b"third")  # the first one has expired
            assert print_of(store) != second
        again = CertificateStore(tmp_path / "device")  # as after a restart
        async with client(hub, again, transport) as device:
            await arrives(device, hub, b"fourth")


async def test_a_certificate_is_renewed_on_request_and_the_session_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as (hub, store):
        async with client(hub, store) as device:
            messages = device.messages()
            await device.send_telemetry(b"0")
            for number in range(1, 3):
                before = print_of(store)
                await device.renew_certificate()
                assert print_of(store) != before
                await hub.send("dev", b"%d" % number)
                assert (await messages.next(DEADLINE)).body == b"%d" % number
            await device.renew_certificate()
        assert not (tmp_path / "device" / "previous.pem").exists()


def test_the_plain_client_renews_too(tmp_path: Path) -> None:
    policy = CredentialPolicy("default", 600)
    with (
        mqttws.LocalDps(credential_policies=[policy]) as dps,
        mqttws.LocalHub(dps) as hub,
    ):
        key = SymmetricKey("dev", dps.enroll_device("dev", credential_policy="default"))
        store = CertificateStore(tmp_path)
        assignment = mqttws.provision(dps.id_scope, key, issue=store, **dps.options)
        tls = TlsConfig(ca=dps.ca_file, only_ca=True)
        with assignment.hub_client(host=dps.host, port=dps.wss_port, tls=tls) as device:
            before = print_of(store)
            device.renew_certificate()
            assert print_of(store) != before
            device.send_telemetry(b"x")
        assert hub.next_telemetry().payload == b"x"


async def test_the_api_version_is_raised_for_a_store_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as (hub, store):
        assert ISSUE_API_VERSION in client(hub, store)._upkeep.access.username
        other = client(hub, store, api_version="2026-11-01")
        assert "api-version=2026-11-01" in other._upkeep.access.username
        key = client(hub, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        assert "api-version=2021-04-12" in key._upkeep.access.username


@pytest.mark.parametrize("fault", get_args(ChainFault))
async def test_a_chain_that_cannot_be_used_leaves_the_present_certificate(
    tmp_path: Path, fault: ChainFault
) -> None:
    async with world(tmp_path) as (hub, store):
        async with client(hub, store) as device:
            before = print_of(store)
            hub.fault("bad-chain", "dev", chain=fault)
            with pytest.raises(CertificateNotIssued) as failed:
                await device.renew_certificate()
            lack = fault in ("missing", "empty")
            assert failed.value.cause is (
                Cause.CERTIFICATE_NOT_ISSUED if lack else Cause.ISSUED_CERTIFICATE_UNUSABLE
            )
            assert print_of(store) == before
            await arrives(device, hub, b"x")
            await device.renew_certificate()
            assert print_of(store) != before


async def test_throttling_is_waited_for_as_the_hub_says(tmp_path: Path) -> None:
    async with world(tmp_path) as (hub, store):
        async with client(hub, store) as device:
            hub.fault("answer", "dev", operation="issue", status=429, retry_after=0.3)
            begun = time.monotonic()
            await device.renew_certificate()
            assert time.monotonic() - begun >= 0.3
            hub.fault("answer", "dev", operation="issue", status=503, retry_after=3600)
            with pytest.raises(HubRequestRejected, match=r"answered 503, error 503001") as refused:
                await device.renew_certificate(timeout=5)
            assert refused.value.retryable
            assert "asked again in" in refused.value.hint
            hub.fault("answer", "dev", operation="issue", status=500)  # five minutes, by itself
            with pytest.raises(HubRequestRejected) as refused:
                await device.renew_certificate(timeout=5)
            assert refused.value.retryable


async def test_the_refusal_of_the_ca_is_an_error(tmp_path: Path) -> None:
    async with world(tmp_path) as (hub, store):
        hub.core.ca.policies.pop("default")  # type: ignore[union-attr]
        async with client(hub, store) as device:
            with pytest.raises(HubRequestRejected, match="no credential policy") as refused:
                await device.renew_certificate()
            assert (refused.value.status, refused.value.error_code) == (400, 400040)
            assert refused.value.cause is Cause.CERTIFICATE_NOT_ISSUED
            await arrives(device, hub, b"x")


async def test_an_operation_of_an_earlier_process_is_replaced(tmp_path: Path) -> None:
    async with world(tmp_path) as (hub, store):
        hub.fault("delay", "dev", operation="issue", seconds=600)
        async with client(hub, store) as device:
            with pytest.raises(RequestTimedOut, match="the certificate was not renewed within"):
                await device.renew_certificate(timeout=2.0)
        record = await hub.core.load(hub.core.key("dev"))
        assert record is not None
        assert record.issuance is not None
        before = print_of(store)
        async with client(hub, store) as device:
            await device.renew_certificate()
        assert print_of(store) != before


@pytest.mark.rule("HUB-38")
@pytest.mark.parametrize("moment", ["before 202", "after 202"])
async def test_an_answer_arrives_over_another_connection(tmp_path: Path, moment: str) -> None:
    async with world(tmp_path) as (hub, store):
        async with client(hub, store) as device:
            before = print_of(store)
            if moment == "before 202":
                hub.fault("drop", "dev", operation="issue")
            else:
                hub.fault("delay", "dev", operation="issue", seconds=0.5)
            renewing = asyncio.ensure_future(device.renew_certificate())
            if moment == "after 202":
                await asyncio.sleep(0.25)
                hub.drop("dev")
            async with asyncio.timeout(DEADLINE):
                await renewing
            assert print_of(store) != before
            await arrives(device, hub, b"x")


async def test_a_hub_that_refuses_the_new_certificate_gets_the_one_before(tmp_path: Path) -> None:
    async with world(tmp_path) as (hub, store):
        async with client(hub, store) as device:
            before = print_of(store)
            hub.fault("refuse", "dev", return_code=5)
            with pytest.raises(CertificateNotIssued, match="refused the certificate that it has"):
                await device.renew_certificate()
            assert print_of(store) == before
            await arrives(device, hub, b"x")
            await device.renew_certificate()
            assert print_of(store) != before


async def test_a_restart_between_storing_and_connecting_goes_back_too(tmp_path: Path) -> None:
    async with world(tmp_path) as (hub, store):
        before = print_of(store)
        async with client(hub, store) as device:
            device._upkeep.client.reconnect = stop  # type: ignore[method-assign]
            with pytest.raises(Killed):
                await device.renew_certificate()
        assert print_of(store) != before
        hub.fault("refuse", "dev", return_code=5)
        async with client(hub, CertificateStore(tmp_path / "device")) as device:
            await arrives(device, hub, b"x")
        assert print_of(store) == before
        hub.fault("refuse", "dev", return_code=5)
        with pytest.raises(ConnectRefused):  # there is none before that one
            await client(hub, CertificateStore(tmp_path / "device")).connect()


class Killed(Exception):
    """The process ends here."""


async def stop(*arguments: object) -> None:
    raise Killed


async def test_a_hub_that_ends_each_connection_for_it_is_not_asked_for_ever(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as (hub, store):
        for operation in ("issue", "subscribe"):
            hub.fault("drop", "dev", operation=operation, times=None)
            device = client(hub, store, reconnect=mqttws.Backoff(0.01, 0.05))
            async with device:
                with pytest.raises(CertificateNotIssued, match="lost in a row") as failed:
                    await device.renew_certificate(timeout=DEADLINE)
                assert "force=True" in failed.value.hint
                assert "it is the network" in failed.value.hint, "which cannot be told from here"
                hub.cancel_faults()
                await arrives(device, hub, b"x")


async def test_only_a_store_can_be_renewed(tmp_path: Path) -> None:
    async with AsyncLocalHub() as hub:
        key = await hub.create_device("dev")
        async with client(hub, key) as device:
            with pytest.raises(UsageError, match="no CertificateStore"):
                await device.renew_certificate()
            with pytest.raises(UsageError, match="timeout"):
                await device.renew_certificate(timeout=-1)
        with pytest.raises(UsageError, match="auto_renew"):
            client(hub, key, auto_renew=True)
    async with world(tmp_path) as (hub, store):
        with pytest.raises(UsageError, match="not connected"):
            await client(hub, store).renew_certificate()


async def test_renewal_by_itself_goes_on_after_failures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path, validity=6, renew_after=0.01) as (hub, store):
        hub.fault("bad-chain", "dev", chain="wrong-key")
        before = print_of(store)
        async with client(hub, store, auto_renew=True) as device:
            await until(lambda: print_of(store) != before)
            assert "was not renewed, again in" in caplog.text
            await until(lambda: device.connected)


def test_waits_grow_and_follow_the_hubs_word() -> None:
    wait = certificates._wait_after
    assert [round(wait(429, {}, n) // 1) for n in range(4)] == [1, 2, 4, 8]
    assert 5 <= wait(503, {}, 0) < 6
    assert 300 <= wait(500, {}, 0) < 331
    assert wait(503, {"retryAfter": 60}, 0) >= 60
    assert wait(429, {"retryAfter": 0}, 3) >= 8
    assert wait(500, {}, 50) <= certificates.LONGEST_WAIT * 1.1
