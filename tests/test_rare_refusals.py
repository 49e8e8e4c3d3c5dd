"""Refusals and errors of the services and clients that only rare circumstances make.

Each is brought about in the shortest way; ``python -m tests.raises`` says which no test makes.
"""

import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from cryptography import x509

import mqttws
from mqttws import SymmetricKey, UsageError
from mqttws.client.options import password_bytes
from mqttws.dps.allocation import WebhookAnswer, assign
from mqttws.dps.answers import Rejection
from mqttws.dps.authentication import _authenticate_chain
from mqttws.dps.codes import IDENTIFIER_REJECTED
from mqttws.dps.csr import read_csr
from mqttws.dps.decisions import look_up, read_register_body
from mqttws.dps.effects import Device, Refusal
from mqttws.dps.records import DeviceRecord, Operation, Snapshot
from mqttws.dps.settings import Settings
from mqttws.errors import ServiceFailed, StoreDamaged, StoreFailed
from mqttws.hub_client.certificates import CertificateRenewal
from mqttws.local import dps_policies, issuing
from mqttws.local.device_door import DeviceDoor
from mqttws.local.http_answers import Refused as RefusedByApi
from mqttws.local.hub_fault_api import cancel_faults, order_fault, put_throttles
from mqttws.local.hub_message_api import _expiry
from mqttws.local.hub_registry_api import bulk, put_device
from mqttws.local.hub_request import Refused as RefusedByHub
from mqttws.local.stores.memory import MemoryStore
from mqttws.net.proxy import choose_proxy
from mqttws.net.tls import read_pem
from mqttws.provisioning.issuing import register_with_certificate
from mqttws.provisioning.pending import common_name_of

from .test_rare_errors import nameless

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
SETTINGS = Settings("0ne00LOCAL", ("hub.example",))


def chain(fault: str = "") -> Any:
    return (SimpleNamespace(fault=fault, sha256="aa", sha1="bb", common_name="dev"),)


def snapshot(individual: Any = None, **certified: Any) -> Any:
    groups = SimpleNamespace(by_fingerprint=certified, any_certified=False)
    return Snapshot(DeviceRecord(), individual, groups, 0.0)  # type: ignore[arg-type]


def device(fault: str = "") -> Any:
    return Device("dev", "0ne00LOCAL", "2019-03-31", None, chain(fault))


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (snapshot(), device("cut off")),
        (snapshot(), device()),
        (snapshot(None, another=SimpleNamespace(certificates=(b"x",))), device()),
        (snapshot(SimpleNamespace(endorsement_key=b"x", certificates=())), device()),
        (snapshot(SimpleNamespace(endorsement_key=b"", certificates=())), device()),
    ],
)
def test_a_chain_that_proves_nothing_is_refused(found: Any, shown: Any) -> None:
    with pytest.raises(Rejection) as caught:
        _authenticate_chain(found, shown)
    assert 400000 <= caught.value.error_code < 405000


def test_requests_of_a_device_that_cannot_be_served_are_refused() -> None:
    with pytest.raises(Rejection):
        read_csr({"csr": "AA=="}, "2019-03-31")
    with pytest.raises(Rejection):
        look_up(snapshot(), device(), mock.Mock(), mock.Mock())
    operation = Operation("o", 0.0, 0, "individual", "dev")
    ended = assign(SETTINGS, snapshot(), device(), operation).operation("o")
    assert ended is not None
    assert ended.state is not None
    assert ended.state["status"] == "failed"


# Changes that others void


async def busy(call: Callable[[], Awaitable[object]]) -> None:
    from mqttws.local.http_answers import Refused

    with pytest.raises(Refused) as caught:
        await call()
    assert caught.value.error_code == 409000


async def test_the_service_api_gives_up_what_others_void(dps_state: Path) -> None:
    pytest.importorskip("aiohttp")
    from mqttws.local import ca_api, service_api

    record = {
        "registrationId": "dev",
        "attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY}},
    }
    kind = service_api.KINDS["enrollments"]
    async with mqttws.AsyncLocalDps(state=dps_state) as dps:
        await dps.enroll(record)
        row = await dps.directory.row(kind.table, "dev")
        asked: Any = SimpleNamespace(name="dev", request=SimpleNamespace(headers={}))
        never = mock.AsyncMock(return_value=False)
        api: Any = service_api.ServiceApi(dps)
        api._find = mock.AsyncMock(return_value=row)
        registered = SimpleNamespace(value=SimpleNamespace(registration=SimpleNamespace(etag="x")))
        api._find_registration = mock.AsyncMock(return_value=registered)
        enrollments = dps.enrollments
        with (
            mock.patch.object(enrollments, "change", never),
            mock.patch.object(enrollments, "remove", never),
            mock.patch.object(enrollments, "put_ca", never),
            mock.patch.object(dps.directory, "remove_registration", never),
            mock.patch.object(dps.directory, "remove_ca", never),
        ):
            wanted = service_api.Wanted("*")
            await busy(lambda: api._keep(kind, "dev", dict(record), wanted))
            await busy(lambda: api._delete(asked))
            await busy(lambda: api._one_of_many(kind, "dev", "delete", {}))
            await busy(lambda: api._delete_registration(asked))
            cas: Any = ca_api.CaApi(dps)
            body = {"certificate": "AA=="}
            with (
                mock.patch.object(ca_api, "read_body", mock.AsyncMock(return_value=body)),
                mock.patch.object(ca_api, "read_der", return_value=b"x"),
            ):
                await busy(lambda: cas.put(asked.request, "ca"))
            cas._find = mock.AsyncMock(
                return_value=SimpleNamespace(value=SimpleNamespace(etag="x"))
            )
            await busy(lambda: cas.delete(asked.request, "ca"))


# The local services


async def test_policies_in_the_records_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    store: Any = MemoryStore()
    damaged = SimpleNamespace(rows=[SimpleNamespace(value={"owner": ["!"]})])
    with mock.patch.object(store, "load", mock.AsyncMock(return_value=damaged)):
        with pytest.raises(StoreDamaged, match="policies"):
            await dps_policies.load_dps_policies(tmp_path, store)


def test_an_issuing_ca_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed, match="issuing CA"):
        issuing._prepare(tmp_path / "file")
    with pytest.raises(UsageError, match="has not been started"):
        _ = mqttws.AsyncLocalDps().issuing._authority


def test_a_service_that_does_not_run_answers_nothing() -> None:
    with pytest.raises(UsageError, match="not running"):
        mqttws.LocalDps().enroll_device("dev")


async def test_a_hubs_service_api_refuses_what_it_cannot_read() -> None:
    with pytest.raises(RefusedByHub):
        _expiry("tomorrow")
    asked: Any = SimpleNamespace(body=5, hub=mock.Mock(), key=mock.Mock())
    with pytest.raises(RefusedByHub):
        await bulk(asked)
    body = {"deviceId": "dev", "authentication": {"x509Certificate": "x"}}
    asked = SimpleNamespace(body=body, hub=mock.Mock(), key=mock.Mock())
    with mock.patch("mqttws.local.hub_registry_api.granted"):
        with pytest.raises(RefusedByHub):
            await put_device(asked)


# The clients


def test_a_password_that_is_none_is_told() -> None:
    with pytest.raises(UsageError, match="password: found int"):
        password_bytes(5)


def test_a_thread_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", mock.Mock(side_effect=RuntimeError("no more")))
    with pytest.raises(ServiceFailed, match="cannot start"):
        mqttws.LoopThread().start()


def test_a_client_that_has_left_makes_no_call() -> None:
    client: Any = mqttws.Client("mqtt://broker.example")
    with mock.patch.object(type(client), "_engine", mock.Mock()):
        with pytest.raises(UsageError, match="has been disconnected"):
            client._call(mock.Mock())
    hub: Any = mqttws.HubClient("hub.example", "dev", SymmetricKey("dev", KEY))
    with mock.patch.object(hub, "_client", mock.Mock()):
        with pytest.raises(UsageError, match="was disconnected"):
            hub._call(mock.Mock())


def test_a_credential_that_a_hub_cannot_be_shown_is_named() -> None:
    other: Any = SimpleNamespace(registration_id="dev", password=lambda scope, now: "x")
    with pytest.raises(UsageError, match="credential: SimpleNamespace"):
        mqttws.Assignment("hub.example", "dev", "", "dev", "").client(other)


@pytest.mark.parametrize("url", [" http://p:1", "'http://p:1'", "socks://p:1"])
def test_a_proxys_url_with_a_slip_is_told(url: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        choose_proxy(url, "wss", "hub.example", 443, {})


def test_a_file_that_is_none_is_told() -> None:
    with pytest.raises(UsageError, match="found int"):
        read_pem(5, "CA file")  # type: ignore[arg-type]


# Certificates, and calls that others void


async def test_a_certificate_that_cannot_be_asked_for_or_kept_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = SimpleNamespace(module_id="m")
    renewal: Any = CertificateRenewal.__new__(CertificateRenewal)
    renewal._upkeep = SimpleNamespace(
        access=SimpleNamespace(certificate=object(), identity=identity)
    )
    with pytest.raises(UsageError, match="no module's"):
        await renewal.renew(1.0)
    certificate, _ = nameless()
    with pytest.raises(UsageError, match="common names"):
        common_name_of(x509.load_pem_x509_certificate(certificate))
    store: Any = mqttws.CertificateStore(tmp_path / "device")
    with mock.patch("mqttws.provisioning.issued.replace_file", side_effect=OSError(5, "I/O")):
        with pytest.raises(StoreFailed, match="cannot be stored"):
            store._keep(b"", (), {}, None)
    refused = mock.AsyncMock(side_effect=mqttws.RegistrationRejected("no"))
    store.load = store.begin = mock.Mock(return_value=None)
    with pytest.raises(mqttws.RegistrationRejected):
        await register_with_certificate(
            store, refused, host="h", id_scope="0ne00X", registration_id="dev", force=False,
            sends_payload=False,
        )  # fmt: skip
    monkeypatch.setattr("os.access", lambda *arguments: False)
    with pytest.raises(StoreFailed, match="cannot be written to"):
        store.check()
    with pytest.raises(UsageError, match="credential: found None"):
        mqttws.Assignment("hub.example", "dev", "", "dev", "").hub_client()


def test_bodies_that_dps_does_not_take_are_refused() -> None:
    answer = b'{"iotHubHostName": "hub.example", "initialTwin": 5}'
    with pytest.raises(Rejection):
        WebhookAnswer(200, answer).choice(["hub.example"])
    with pytest.raises(Rejection):
        read_register_body(b'{"tpm": {}}', device())


async def test_calls_of_a_local_dps_that_others_void_are_told(dps_state: Path) -> None:
    async with mqttws.AsyncLocalDps(state=dps_state) as dps:
        with pytest.raises(UsageError, match="there is no enrollment"):
            await dps.delete("nobody")
        await dps.enroll_device("dev")
        never = mock.AsyncMock(return_value=False)
        with (
            mock.patch.object(dps.enrollments, "change", never),
            mock.patch.object(dps.enrollments, "remove", never),
        ):
            for call in (dps.delete("dev"), dps._set_status("dev", "disabled", group=False)):
                with pytest.raises(UsageError, match="same moment"):
                    await call
        with pytest.raises(mqttws.RequestTimedOut, match="no event"):
            await dps.wait_for("assigned", timeout=0.01)


async def test_orders_of_a_hub_that_cannot_be_are_refused() -> None:
    asked: Any = SimpleNamespace(body=5, rest="7", hub=mock.Mock())
    asked.hub.faults.cancel.return_value = False
    for call in (order_fault, cancel_faults, put_throttles):
        with pytest.raises(RefusedByHub):
            await call(asked)


def test_a_device_without_a_good_name_is_refused_over_https() -> None:
    door: Any = DeviceDoor.__new__(DeviceDoor)
    refusal = Refusal(IDENTIFIER_REJECTED, "no such name")
    door._dps = SimpleNamespace(front=SimpleNamespace(admit_names=lambda *names: refusal))
    with pytest.raises(RefusedByApi, match="Invalid request"):
        door._admit(mock.Mock(), SimpleNamespace(headers={}), mock.Mock())
