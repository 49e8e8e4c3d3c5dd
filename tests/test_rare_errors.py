"""Errors that only rare circumstances make, each brought about in the shortest way.

``python -m tests.raises`` says which raises no other test reaches.
"""

import asyncio
import datetime
import http.server
import json
import socket
import subprocess
import sys
import tempfile
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import mqttws
from mqttws import Cause, MqttwsError, RequestTimedOut, SymmetricKey, TlsConfig, UsageError
from mqttws.cli import admin, fleet_results, hub_service, hub_serving, publish, subscribe
from mqttws.cli.serve_place import AdminPlace
from mqttws.client.client import AsyncClient
from mqttws.client.store import FailedForgotten
from mqttws.client.sync_results import SyncReceipt
from mqttws.dps.decisions import Ids
from mqttws.dps.directory import Directory
from mqttws.dps.effects import AllocationRequested, Device
from mqttws.dps.enrollment_json import parse_enrollments
from mqttws.dps.faults import Fault, Faults
from mqttws.dps.known_groups import KnownGroups
from mqttws.dps.records import EnrollmentGroup
from mqttws.dps.settings import Settings
from mqttws.dps.store import Write
from mqttws.dps.tables import FAULTS, GROUPS, MARKS, OLD_GROUPS_MARK
from mqttws.dps.topics import Register
from mqttws.errors import HubRequestRejected, NameNotResolved, StoreFailed, SubscribeRefused
from mqttws.hops import Hop
from mqttws.hub.device.identity import HubIdentity
from mqttws.hub_client.bodies import message_of
from mqttws.hub_client.twins import TwinRequests
from mqttws.local import dps, stores
from mqttws.local.dps_tls import DpsTls
from mqttws.local.orders import FaultOrders
from mqttws.local.policies import load_policies
from mqttws.local.stores import sqlite_file
from mqttws.local.stores.memory import MemoryStore
from mqttws.local.x509 import load_certificate
from mqttws.net import dial, tcp
from mqttws.net.hops import Walk
from mqttws.net.proxy import Proxy, choose_proxy
from mqttws.net.socks import Socks5Connect
from mqttws.net.tls import client_context
from mqttws.protocol import ClientProtocol
from mqttws.provisioning.cache import AssignmentFile
from mqttws.provisioning.conversation import Conversation
from mqttws.provisioning.plan import Plan
from mqttws.wire import Connect
from mqttws.wire.fields import encode_remaining_length
from mqttws.wire.framing import Decoder

from .cli.shell import run

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
CREDENTIAL = SymmetricKey("dev", KEY)


def pem(der: bytes, label: str = "CERTIFICATE") -> bytes:
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (
        label.encode(),
        b64encode(der),
        label.encode(),
    )


def nameless() -> tuple[bytes, bytes]:
    """Return a certificate without a common name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(1))
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return made.public_bytes(encoding), key.private_bytes(encoding, form, none)


def wrong_arguments() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield a part of the sentence, and the call."""
    yield "belong together", lambda: mqttws.diagnose("dps.example", id_scope="0ne00LOCAL")
    yield "registers_per_minute", lambda: Settings("0ne00LOCAL", {"h": 1}, registers_per_minute=0)
    yield "device_id", lambda: HubIdentity("hub.example", 5)  # type: ignore[arg-type]
    message = mqttws.TelemetryMessage(b"x")
    yield "brings its properties", lambda: message_of(message, {"a": "b"})
    yield "has not been started", lambda: mqttws.AsyncLocalDps().ca_file
    yield "has not been started", DpsTls(mock.Mock())._make_context
    yield "options of the DPS", lambda: mqttws.AsyncLocalHub(mqttws.AsyncLocalDps(), lenient=True)
    yield "allowed: iothubowner", lambda: mqttws.AsyncLocalHub().service_connection_string("none")
    yield "cannot be read", lambda: load_certificate(b"x")
    yield (
        "not base64",
        TlsConfig(ca=b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----").context,
    )
    yield "cut off", TlsConfig(ca=pem(b"\x30\x10\x02")).context
    yield "PKCS#7", TlsConfig(ca=pem(b"\x30\x03\x02\x01\x00", "PKCS7")).context
    yield "cannot be used", TlsConfig(ca=pem(b"\x30\x03\x02\x01\x00")).context
    yield "contradict", lambda: TlsConfig(ca=b"x", only_ca=True, truststore=True)
    yield "tls: found int", lambda: client_context(5)  # type: ignore[arg-type]
    yield "timeout", lambda: Walk(timeout=0, hop_timeout=1)
    path = "http://proxy.example:3128/path"
    yield "follows the port", lambda: choose_proxy(path, "wss", "hub.example", 443, {})
    yield "pipelined", lambda: ClientProtocol(Connect("c", clean_session=False), pipelined=True)
    yield "digest()", lambda: AssignmentFile("f", "h", "0ne00LOCAL", mock.Mock(spec=[]))
    yield "api_version", lambda: Plan("0ne00LOCAL", CREDENTIAL, api_version="a b")
    yield "common names", lambda: mqttws.X509Certificate(*nameless())
    yield "remaining length", lambda: encode_remaining_length(2**28)
    for certificate in ("-----BEGIN CERTIFICATE-----\nAA==", "!"):
        record = {"registrationId": "d", "attestation": {"type": "x509", "x509": {
            "clientCertificates": {"primary": {"certificate": certificate}}}}}  # fmt: skip
        text = json.dumps([record])
        yield "certificate", lambda text=text: parse_enrollments(text, "f")  # type: ignore[misc]
    keyless = [{"registrationId": "d", "attestation": {"type": "symmetricKey"}}]
    yield "an export has the keys", lambda: parse_enrollments(json.dumps(keyless), "f")


@pytest.mark.parametrize(("part", "call"), list(wrong_arguments()))
def test_a_wrong_argument_is_told(part: str, call: Callable[[], object]) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert part in f"{caught.value} {caught.value.hint}"


WITHOUT = """
import sys
from importlib import import_module
sys.modules[sys.argv[1]] = None
import mqttws
try:
    import_module(sys.argv[2])
    mqttws.TlsConfig(truststore=True).context()
except mqttws.UsageError as error:
    print(error, error.hint)
"""


@pytest.mark.parametrize(
    ("missing", "module"),
    [
        ("aiohttp", "mqttws.local.admin"),
        ("aiohttp", "mqttws.local.http_answers"),
        ("aiohttp", "mqttws.local.hub_http"),
        ("prometheus_client", "mqttws.local.metrics"),
        ("psycopg", "mqttws.local.stores.postgres"),
        ("truststore", "mqttws"),
    ],
)
def test_a_package_that_is_not_installed_is_named(missing: str, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, missing, module],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert missing in done.stdout, done.stderr
    assert "pip install" in done.stdout


# The shell


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Serve one answer to whatever is asked; yield the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_an_admin_api_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"<html>") as url:
        done = run("enroll", "--admin", url, "list")
    assert "not JSON" in done.stderr
    monkeypatch.setattr(admin, "MAX_ANSWER", 3)
    with answering(b"[     ]") as url:
        done = run("enroll", "--admin", url, "list")
    assert "longer than 3 bytes" in done.stderr


def test_a_device_with_a_certificate_has_no_key_to_print() -> None:
    with answering(b'{"type": "x509"}') as url:
        done = run("enroll", "--admin", url, "device", "dev")
    assert done.returncode == 2
    assert "has no key" in done.stderr


def test_a_fleet_file_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("registration_id,key,key\n")
    done = run("provision-fleet", tmp_path / "f.csv", "--id-scope", "0ne00LOCAL")
    assert done.returncode == 41
    assert "there twice" in done.stderr


def test_a_results_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(MqttwsError, match="not a regular file"):
        fleet_results.assigned_in(str(tmp_path))
    with pytest.raises(MqttwsError, match="Input/output"):
        fleet_results.assigned_in("/proc/self/mem")
    with (
        pytest.raises(MqttwsError, match="No such file"),
        fleet_results.Results(str(tmp_path / "none" / "r.csv"), as_json=False),
    ):
        pass


def test_a_hubs_connection_file_is_read_with_care(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(hub_service.VARIABLE, raising=False)
    file = tmp_path / "hub-connection.json"
    file.write_text("[]")
    with pytest.raises(MqttwsError, match="serve --with-hub"):
        hub_service.find_service(str(file), None, None)
    file.write_text('{"hubs": {"a.example": "x"}, "ca_file": "x"}')
    with pytest.raises(UsageError, match=r"allowed: a\.example"):
        hub_service.find_service(str(file), "b.example", None)


def test_files_that_cannot_be_opened_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "file"
    there.touch()
    with pytest.raises(StoreFailed, match="connection file"):
        hub_service.write_connections(there, {"a.example": "x"}, there)
    with pytest.raises(mqttws.UnusableFile, match="No such file"), ExitStack() as opened:
        publish._open(str(tmp_path / "none"), opened)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(StoreFailed, match="no temporary folder"):
        dps._temporary_folder()


def test_telemetry_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="telemetry"):
        hub_serving._opened(str(tmp_path / "none" / "t.jsonl"))


def test_a_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(UsageError, match="no message"):
        publish.publish.main(["mqtt://127.0.0.1", "t"], standalone_mode=False)


def test_the_end_of_messages_is_told() -> None:
    client: Any = SimpleNamespace(
        messages=lambda: mock.Mock(next=mock.Mock(side_effect=StopIteration))
    )
    with pytest.raises(MqttwsError, match="disconnected"):
        subscribe._print_messages(client, None, None, None, verbose=False, as_json=False)


# The clients


async def test_an_outbox_that_stays_full_is_told() -> None:
    client = AsyncClient("mqtt://broker.example")
    drain = mock.AsyncMock(side_effect=TimeoutError)
    with mock.patch.object(client, "_engine", SimpleNamespace(drain=drain)):
        with pytest.raises(RequestTimedOut, match="'t'"):
            await client._drain(mock.Mock(), "t")


def test_a_wait_in_the_clients_own_thread_is_refused() -> None:
    client: Any = SimpleNamespace(_thread=SimpleNamespace(is_current=True))
    with pytest.raises(UsageError, match="own thread"):
        SyncReceipt("t", b"", 1, False, client).wait(1)


def test_a_session_store_that_fails_is_told(tmp_path: Path) -> None:
    store = mqttws.SqliteStore(tmp_path / "s.db")
    store.load("me")
    assert store._database is not None
    store._database.execute("DROP TABLE failed")
    with pytest.raises(StoreFailed, match="cannot be written"):
        store.save([FailedForgotten()])
    store.close()
    with pytest.raises(MqttwsError, match="found str for a place"):
        store._number("x", "queue")


async def test_a_twin_that_is_none_is_told() -> None:
    requests = TwinRequests(mock.Mock(on_lost=[]), mock.Mock(), 1.0)
    with mock.patch.object(requests, "_ask", mock.AsyncMock(return_value=(None, b"[]"))):
        with pytest.raises(HubRequestRejected) as caught:
            await requests.get()
    assert caught.value.cause is Cause.ANSWER_MALFORMED


async def test_a_refused_subscription_of_dps_is_told() -> None:
    conversation = Conversation(Connect("c"), answer_timeout=1.0, pipelined=False, on_packet=None)
    conversation._granted = asyncio.get_running_loop().create_future()
    conversation._granted.set_result([0x80])
    with pytest.raises(SubscribeRefused) as caught:
        await conversation.subscribed()
    assert caught.value.hop is Hop.SUBSCRIBE


def test_the_head_of_a_message_that_is_dropped_is_checked() -> None:
    decoder = Decoder(max_packet_size=10, discard_oversized=True)
    decoder.feed(b"\x30\x7f\x00\x02\xff\xff" + bytes(20))
    with pytest.raises(mqttws.MalformedPacket):
        decoder.next_packet()


# The way


async def test_a_name_that_is_blocked_by_its_address_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look_up(host: str, port: int, family: int, kind: int) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET6, kind, 6, "", ("::", port)),
            (socket.AF_INET, kind, 6, "", ("0.0.0.0", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(NameNotResolved, match=r"0\.0\.0\.0|::"):
        await tcp.resolve("blocked.example", 443)


async def test_a_name_without_an_address_for_the_proxy_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dial, "resolve", mock.AsyncMock(return_value=[]))
    proxy = "socks5://proxy.example:1080"
    with pytest.raises(NameNotResolved, match="has no address"):
        await mqttws.provision_async("0ne00LOCAL", CREDENTIAL, host="hub.example", proxy=proxy)


def test_an_answer_that_is_not_socks_5_is_told() -> None:
    proxy = Proxy("socks5", "proxy.example", 1080, "argument")
    tunnel = Socks5Connect(proxy, "192.0.2.1", 443)
    tunnel.data_to_send()
    tunnel.receive_data(b"\x05\x00")
    with pytest.raises(mqttws.ProxyRefused, match="not SOCKS5"):
        tunnel.receive_data(b"\x04\x00")


# The local services


async def test_a_local_dps_is_used_in_order(dps_state: Path) -> None:
    with pytest.raises(UsageError, match="a port to listen on"):
        await mqttws.AsyncLocalDps(wss_port=None, mqtts_port=None).start()
    async with mqttws.AsyncLocalDps(state=dps_state) as dps:
        with pytest.raises(UsageError, match="started already"):
            await dps.start()
        await dps.enroll_device("dev")
        with pytest.raises(UsageError, match="already"):
            await dps.enroll_device("dev")
        with mock.patch.object(dps.enrollments, "change", mock.AsyncMock(return_value=False)):
            with pytest.raises(UsageError, match="same moment"):
                await dps.enroll_device("other")
    with mqttws.LocalDps(state=dps_state) as running:
        with pytest.raises(UsageError, match="started already"):
            running.start()


async def test_a_hub_is_used_in_order(dps_state: Path) -> None:
    async with mqttws.AsyncLocalHub(state=dps_state) as hub:
        for call in (hub.delete_device, hub.connection_string):
            with pytest.raises(HubRequestRejected):
                await call("nobody")
        with pytest.raises(UsageError, match="method"):
            await hub.invoke("nobody", "a/b")
        with mock.patch.object(hub.core.store, "commit", mock.AsyncMock(return_value=False)):
            with pytest.raises(StoreFailed, match="changed by others"):
                await hub.create_device("dev")


def test_policies_of_a_hub_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    file = tmp_path / "policies.json"
    for text in ("[]", '{"hub.example": {}}'):
        file.write_text(text)
        with pytest.raises(mqttws.StoreDamaged, match="policies"):
            load_policies(file, "hub.example", {"owner": frozenset()})
    file.unlink()
    file.mkdir()
    with pytest.raises(StoreFailed, match="policies"):
        load_policies(file, "hub.example", {})
    file.rmdir()
    (tmp_path / "policies.new").mkdir()
    with pytest.raises(StoreFailed, match="policies"):
        load_policies(file, "hub.example", {})


async def test_changes_that_others_void_without_end_are_given_up(dps_state: Path) -> None:
    store = MemoryStore()
    with mock.patch.object(store, "commit", mock.AsyncMock(return_value=False)):
        with pytest.raises(StoreFailed, match="faults change faster"):
            await FaultOrders(store, lambda: 0.5).order(Fault("silence"))
    device = Device("dev", "0ne00LOCAL", "2019-03-31", "SharedAccessSignature x", ())
    asked = AllocationRequested(device, "o", "http://hook.example/", b"{}", "a test")
    async with mqttws.AsyncLocalDps(state=dps_state) as dps:
        service = dps.service
        with mock.patch.object(service, "_commit", mock.AsyncMock(return_value=False)):
            with pytest.raises(StoreFailed, match="another request was faster"):
                await service._decide(device, Register("1"), b"{}", Ids("o", "t"))
            with pytest.raises(StoreFailed, match="another request was faster"):
                await service.allocated(asked, 200, b"{}")
        with mock.patch.object(KnownGroups, "find", return_value=None):
            with pytest.raises(StoreFailed, match="groups change faster"):
                await service._load(device)
    group = EnrollmentGroup("group", primary_key=b"k" * 16)
    await store.commit([Write(GROUPS, "group", group), Write(MARKS, OLD_GROUPS_MARK, 1)])
    with mock.patch.object(store, "commit", mock.AsyncMock(return_value=False)):
        with pytest.raises(StoreFailed, match="can be indexed"):
            await Directory(store).index_groups()


async def test_records_in_sqlite_that_fail_are_told(tmp_path: Path) -> None:
    store: Any = stores.open_store(tmp_path / "records")
    await store.open()
    with pytest.raises(UsageError, match="open already"):
        await store.open()
    store._reader.close()
    for call in (store.load((FAULTS, "")), store.find(FAULTS, "x")):
        with pytest.raises(StoreFailed):
            await call
    await store.close()
    database: Any = mock.Mock()
    database.execute.return_value.fetchone.return_value = ("delete",)
    with mock.patch.object(sqlite_file, "_check_version"):
        with pytest.raises(StoreFailed, match="no shared memory"):
            sqlite_file.prepare(database, "f")


async def test_records_in_postgresql_that_fail_are_told() -> None:
    psycopg = pytest.importorskip("psycopg")
    from mqttws.local.stores.postgres import PostgresStore

    store: Any = PostgresStore("postgresql://localhost/none")
    errors = {
        "disk is full": psycopg.errors.DiskFull,
        "UndefinedTable": psycopg.errors.UndefinedTable,
        "gone": lambda: psycopg.OperationalError("gone"),
    }
    store._pool = mock.MagicMock()
    with pytest.raises(UsageError, match="open already"):
        await store.open()
    for part, error in errors.items():
        execute = mock.AsyncMock(side_effect=error())
        store._pool.connection.return_value.__aenter__.return_value.execute = execute
        with pytest.raises(StoreFailed, match=part):
            await store._query("SELECT 1", ())
    with pytest.raises(StoreFailed, match="gone"):  # twice: the commit, and the look at it
        await store._run_commits([([Write(FAULTS, "", Faults(), 0)], ())])


def test_the_admin_commands_say_what_they_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in clear"):
        admin.AdminClient("http://admin.example:8080", "token")
    done = run("enroll", "--admin", "http://127.0.0.1:1", "delete", "x", "--group", "--ca")
    assert done.returncode == 2
    assert "one of them" in done.stderr
    (tmp_path / "all.json").write_text('{"enrollments": [], "certificates": [{}]}')
    done = run("enroll", "--admin", "http://127.0.0.1:1", "import", tmp_path / "all.json")
    assert "certificates[0].name: missing; expected a name" in done.stderr
    (tmp_path / "all.json").write_text('{"enrollments": [], "certificates": [1]}')
    done = run("enroll", "--admin", "http://127.0.0.1:1", "import", tmp_path / "all.json")
    assert "certificates[0]: found a number" in done.stderr
    assert done.returncode == 41
    for text, part in ((" ", "empty"), ("a\nb", "one line")):
        (tmp_path / "token").write_text(text)
        with pytest.raises(mqttws.UnusableFile, match=part):
            AdminPlace("127.0.0.1", 0, str(tmp_path / "token"))


def test_a_results_file_that_cannot_be_read_back_is_a_fault_of_this_host(tmp_path: Path) -> None:
    results = fleet_results.Results(str(tmp_path / "r.csv"), as_json=False)
    with results:
        assert results._is_whole()
        broken = mock.Mock(**{"seek.side_effect": OSError(5, "Input/output error")})
        with (
            mock.patch.object(results, "_file", broken),
            pytest.raises(mqttws.StoreFailed, match="Input/output error"),
        ):
            results._is_whole()
