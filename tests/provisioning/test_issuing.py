"""Issued certificates without a service: what is checked, what is stored, and when another is
asked for."""

import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from mqttws import (
    Assignment,
    Cause,
    CertificateNotIssued,
    CertificateStore,
    RegistrationRejected,
    StoreDamaged,
    StoreFailed,
    SymmetricKey,
    UsageError,
    provision,
    provision_async,
)
from mqttws.dps.issuance import ISSUE_API_VERSION
from mqttws.dps.names import DEFAULT_API_VERSION
from mqttws.errors import ConnectFailed, MqttwsError
from mqttws.hops import Hop
from mqttws.provisioning import issued
from mqttws.provisioning import provision as provision_module
from mqttws.provisioning.cache import AssignmentFile
from mqttws.provisioning.issued import FILE, PREVIOUS, StoredCertificate
from mqttws.provisioning.issued_chain import CLOCK_LEEWAY, check_chain, public_key_of
from mqttws.provisioning.issuing import issue_version, register_with_certificate
from mqttws.provisioning.pending import PendingCertificate, _without_null, make_request
from mqttws.provisioning.plan import Plan

from .scripted_dps import KEY

DAY = 86_400
NOW = int(time.time())
PLACE = Assignment("hub", "dev", "", "dev", "op", {"a": 1})
BINDING = {"host": "dps", "id_scope": "0ne00", "registration_id": "dev"}

Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def named(*names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])


@cache
def authority(name: str) -> tuple[Key, x509.Name]:
    return new_key(), named(name)


def certificate(
    *names: str,
    key: Any,
    by: str = "ca",
    begins: float = NOW - DAY,
    ends: float = NOW + DAY,
    uses: tuple[ObjectIdentifier, ...] = (),
) -> x509.Certificate:
    signer, issuer = authority(by)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(*names))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(begins, UTC))
        .not_valid_after(datetime.fromtimestamp(ends, UTC))
    )
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return builder.sign(signer, hashes.SHA256())


def ca(name: str = "ca", by: str = "root", **dates: float) -> x509.Certificate:
    return certificate(name, key=authority(name)[0].public_key(), by=by, **dates)


def der(one: x509.Certificate) -> bytes:
    return one.public_bytes(Encoding.DER)


# A chain that was issued

DEVICE = new_key()
PUBLIC = public_key_of(certificate("dev", key=DEVICE.public_key()))


def leaf(*names: str, **options: Any) -> x509.Certificate:
    return certificate(*(names or ("dev",)), key=DEVICE.public_key(), **options)


@pytest.mark.parametrize(
    "chain",
    [
        [leaf()],
        [leaf("DEV")],
        [leaf(), ca()],
        [leaf(), ca(), ca("root")],
        [leaf(begins=NOW + CLOCK_LEEWAY)],
        [leaf(ends=NOW)],
        [leaf(uses=(ExtendedKeyUsageOID.CLIENT_AUTH,))],
        [leaf(uses=(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH))],
        [leaf(uses=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,))],
    ],
)
def test_a_chain_that_can_be_used(chain: list[x509.Certificate]) -> None:
    assert check_chain([der(one) for one in chain], "dev", PUBLIC, float(NOW)) == chain


def moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(NOW + seconds, UTC):%F %T}Z"


@pytest.mark.parametrize(
    ("chain", "told"),
    [
        ([ca(), leaf()], "the chain is in the wrong order: the device's certificate is number 1;"),
        ([ca()], "the certificate is for another key than the one that was asked for"),
        ([leaf("other")], "the certificate's common name is 'other'; allowed: 'dev'"),
        ([leaf("dev", "dev")], "the certificate's common name is 'dev', 'dev'; allowed: 'dev'"),
        (
            [certificate(key=DEVICE.public_key())],
            "the certificate's common name is none; allowed: 'dev'",
        ),
        (
            [leaf(uses=(ExtendedKeyUsageOID.SERVER_AUTH,))],
            "the certificate is not one for a TLS client (extended key usage)",
        ),
        (
            [leaf(ends=NOW - 1)],
            f"certificate 0 of the chain expired at {moment(-1)}, in the past here",
        ),
        (
            [leaf(), ca(ends=NOW - 1)],
            f"certificate 1 of the chain expired at {moment(-1)}, in the past here",
        ),
        (
            [leaf(begins=NOW + 301)],
            f"certificate 0 of the chain begins at {moment(301)}, in the future here",
        ),
        (
            [leaf(), ca("root"), ca()],
            "the chain is in the wrong order: certificate 1 did not sign number 0;",
        ),
        (
            [leaf(), ca(), ca("other")],
            "certificate 1 of the chain is not signed by the next one",
        ),
        ([leaf(), leaf()], "certificate 0 of the chain is not signed by the next one"),
    ],
)
def test_a_chain_that_cannot_be_used_says_why(chain: list[x509.Certificate], told: str) -> None:
    with pytest.raises(CertificateNotIssued) as caught:
        check_chain([der(one) for one in chain], "dev", PUBLIC, float(NOW))
    assert str(caught.value).startswith(told)
    assert caught.value.cause is Cause.ISSUED_CERTIFICATE_UNUSABLE
    clock = "in the past" in told or "in the future" in told
    assert ("set this machine's clock right" in caught.value.hint) is clock
    if not clock:
        assert caught.value.hint == "look at the CA of the enrollment's credential policy"


def test_no_certificate_and_none_that_can_be_read() -> None:
    with pytest.raises(CertificateNotIssued, match="sent no certificate") as caught:
        check_chain([], "dev", PUBLIC, float(NOW))
    assert "credential policy" in caught.value.hint
    point = (
        authority("ca")[0].public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    keyless = der(ca()).replace(point, b"\x05" + point[1:])
    for broken in (b"x", keyless):
        with pytest.raises(CertificateNotIssued, match="certificate 1 of the chain cannot be read"):
            check_chain([der(leaf()), broken], "dev", PUBLIC, float(NOW))


# The store


def chain_for(pending: PendingCertificate, **options: Any) -> list[bytes]:
    """Return what a service answers a request with."""
    request = x509.load_der_x509_csr(pending.csr)
    return [der(certificate(pending.common_name, key=request.public_key(), **options)), der(ca())]


def stored(folder: Path, **options: Any) -> CertificateStore:
    store = CertificateStore(folder)
    pending = store.begin("dev", BINDING)
    pending.accept(chain_for(pending, **options), PLACE)
    return store


def test_what_is_stored_comes_back_whole(tmp_path: Path) -> None:
    store = stored(tmp_path / "new" / "folder")
    assert stat.S_IMODE((tmp_path / "new" / "folder").stat().st_mode) == 0o700
    assert stat.S_IMODE(store.file.stat().st_mode) == 0o600
    found = store.load()
    assert found is not None
    text = store.file.read_bytes()
    first = x509.load_pem_x509_certificates(text)[0]
    assert found == StoredCertificate(
        "dev",
        float(NOW - DAY),
        float(NOW + DAY),
        hashlib.sha256(der(first)).hexdigest(),
        BINDING,
        PLACE,
        text,
    )
    assert len(x509.load_pem_x509_certificates(text)) == 2
    key = load_pem_private_key(text[text.index(b"-----BEGIN") :], None)
    assert key.public_key() == first.public_key()
    assert store.registration_id == "dev"
    assert store.digest("any") == f"x509:{found.fingerprint}"
    assert store.expires_at() == float(NOW + DAY)
    assert repr(store) == f"CertificateStore({str(tmp_path / 'new' / 'folder')!r})"
    assert "PRIVATE" not in repr(found)


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    text = stored(tmp_path).file.read_bytes()
    head, _, rest = text.partition(b"\n")
    assert head.startswith(b"# mqttws: {")
    assert json.loads(head.removeprefix(b"# mqttws: ")) == {
        "binding": BINDING,
        "assignment": {
            "assigned_hub": "hub", "device_id": "dev", "substatus": "",
            "registration_id": "dev", "operation_id": "op", "payload": {"a": 1},
            "created": "", "last_updated": "", "etag": "",
        },
    }  # fmt: skip
    (tmp_path / FILE).write_bytes(
        b'# mqttws: {"binding": {"host": "h"}, "assignment": null}\n' + rest
    )
    found = CertificateStore(tmp_path).load()
    assert found is not None
    assert (found.binding, found.assignment) == ({"host": "h"}, None)


def test_a_certificate_is_valid_until_its_last_second(tmp_path: Path) -> None:
    found = stored(tmp_path).load()
    assert found is not None
    assert found.is_valid(NOW + DAY)
    assert not found.is_valid(NOW + DAY + 0.1)


def test_it_is_due_after_a_part_of_its_life(tmp_path: Path) -> None:
    stored(tmp_path)
    for part, due in ((0.5, NOW), (0.25, NOW - DAY / 2)):
        store = CertificateStore(tmp_path, renew_after=part)
        assert store.renewal_time() == due
        assert store.is_due(due)
        assert not store.is_due(due - 1.0)
        later = store.renewal_time(1.0)
        assert later is not None
        assert due < later < NOW + DAY
        half = store.renewal_time(0.5)
        assert half == pytest.approx((due + later) / 2)
    assert CertificateStore(tmp_path, renew_after=0.999).renewal_time(1.0) == NOW + DAY
    empty = CertificateStore(tmp_path / "none")
    assert empty.renewal_time() is None
    assert empty.is_due(0.0)


def test_each_certificate_in_software_has_a_key_of_its_own(tmp_path: Path) -> None:
    store = stored(tmp_path)
    assert store.context(None) is store.context(None), "made once for what was read"
    before = store.context(None)
    renewal = store.begin_renewal()
    assert renewal.common_name == "dev"
    request = x509.load_der_x509_csr(renewal.csr)
    assert (
        request.public_key() != x509.load_pem_x509_certificate(store.file.read_bytes()).public_key()
    )
    renewal.accept(chain_for(renewal))
    found = store.load()
    assert found is not None
    assert (found.binding, found.assignment) == (BINDING, PLACE), "kept from the one before"
    assert store.context(None) is not before


def test_a_new_assignment_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    store = stored(tmp_path)
    renewal = store.begin_renewal()
    moved = Assignment("hub2", "dev", "", "dev", "op2")
    renewal.accept(chain_for(renewal), moved)
    found = store.load()
    assert found is not None
    assert found.assignment == moved


def test_the_pair_before_is_kept_until_it_is_confirmed_or_reverted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored(tmp_path)
    assert store.revert() is False
    first = store.file.read_bytes()
    stored(tmp_path)
    assert (tmp_path / PREVIOUS).read_bytes() == first
    stored(tmp_path)
    assert (tmp_path / PREVIOUS).read_bytes() == first, "the one that a hub has accepted"
    synced: list[Path] = []
    monkeypatch.setattr(issued, "sync_folder", synced.append)
    assert store.revert() is True
    assert synced == [tmp_path], "on the disk"
    assert store.file.read_bytes() == first
    assert not (tmp_path / PREVIOUS).exists()
    assert "the last was refused" in caplog.text
    stored(tmp_path)
    store.confirm()
    assert not (tmp_path / PREVIOUS).exists()
    store.confirm()


def test_an_expired_or_damaged_pair_is_not_gone_back_to_and_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: float(NOW))
    store = stored(tmp_path)
    expired = stored(tmp_path / "b", ends=NOW + 1).file.read_bytes()
    monkeypatch.setattr("time.time", lambda: NOW + 1.5)
    for before in (b"damaged", expired):
        (tmp_path / PREVIOUS).write_bytes(before)
        assert store.revert() is False
        old = store.file.read_bytes()
        stored(tmp_path)
        assert (tmp_path / PREVIOUS).read_bytes() == old


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("folder", lambda store: CertificateStore("a\0b")),
        ("renew_after", lambda store: CertificateStore("a", renew_after="0.5")),
        ("renew_after", lambda store: CertificateStore("a", renew_after=True)),
        ("context", lambda store: store.digest(5)),
        ("unix_now", lambda store: store.password("0ne00", "now")),
        ("tls", lambda store: store.context(5)),
        ("chance", lambda store: store.renewal_time("x")),
        ("unix_now", lambda store: store.is_due("now")),
    ],
)
def test_a_wrong_argument_is_named(tmp_path: Path, name: str, call: Any) -> None:
    with pytest.raises(UsageError, match=f"^{name}: found "):
        call(CertificateStore(tmp_path))


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    left = [tmp_path / f".{name}.killed" for name in (FILE, PREVIOUS)]
    for file in left:
        file.write_bytes(b"half")
    stored(tmp_path)
    assert not any(file.exists() for file in left)


def test_what_cannot_be_used_is_none_and_names_itself_where_it_is_needed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CertificateStore(tmp_path)
    assert store.load() is None
    assert caplog.text == ""
    assert store.expires_at() is None
    with pytest.raises(UsageError, match="no certificate is stored in") as missing:
        store.context(None)
    assert missing.value.cause is Cause.WRONG_MOMENT
    assert "have one issued first" in missing.value.hint
    store.file.write_bytes(b"x")
    assert store.load() is None
    assert "the stored certificate cannot be used: " in caplog.text
    with pytest.raises(StoreDamaged, match="cannot be used") as damaged:
        store.context(None)
    assert "have another issued" in damaged.value.hint
    assert damaged.value.__context__ is None
    store.file.unlink()
    store.file.mkdir()
    with pytest.raises(StoreFailed, match="cannot be"):
        store.context(None)


@pytest.mark.skipif(os.name != "posix", reason="modes of folders")
def test_a_folder_that_cannot_be_written_to_is_told_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreFailed, match=r"file/below: Not a directory$"):
        CertificateStore(tmp_path / "file" / "below").check()
    asked: list[int] = []

    def deny(path: object, mode: int) -> bool:
        asked.append(mode)
        return False

    monkeypatch.setattr(os, "access", deny)
    with pytest.raises(StoreFailed, match="the folder cannot be written to"):
        CertificateStore(tmp_path).check()
    assert asked == [os.W_OK | os.X_OK]


def test_what_cannot_be_stored_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored(tmp_path)
    before = store.file.read_bytes()

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(StoreFailed, match=r"cannot be stored: .*: Permission denied"):
        stored(tmp_path)
    assert store.file.read_bytes() == before


# The request


class Hardware:
    """A key that makes this request."""

    def __init__(self, request: object) -> None:
        self._request = request
        self.shown: list[object] = []

    def request(self, common_name: str) -> Any:
        return self._request

    def context(self, chain_file: Path, tls: object) -> Any:
        self.shown += [chain_file, tls]
        return "context"


def request_of(*names: str) -> x509.CertificateSigningRequest:
    builder = x509.CertificateSigningRequestBuilder().subject_name(named(*names))
    return builder.sign(DEVICE, hashes.SHA256())


def test_a_request_in_software_is_for_a_fresh_key_and_the_name() -> None:
    pem, csr = make_request("dev", None)
    request = x509.load_der_x509_csr(csr)
    assert request.subject == named("dev")
    assert request.is_signature_valid
    key = load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert key.public_key() == request.public_key()
    assert make_request("dev", None)[0] != pem


@pytest.mark.parametrize("form", [Encoding.DER, Encoding.PEM])
@pytest.mark.parametrize("name", ["dev", "DEV"])
def test_the_hardwares_own_request_is_read_in_both_forms(form: Encoding, name: str) -> None:
    request = request_of(name)
    given = request.public_bytes(form)
    if form is Encoding.PEM:
        given = b"some text\n" + given + b"more"
    assert make_request("dev", Hardware(given)) == (b"", request.public_bytes(Encoding.DER))


NOTHING = "no PKCS#10 request in DER or PEM form"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (b"x", NOTHING),
        (b"", NOTHING),
        ("text", NOTHING),
        (None, NOTHING),
        (request_of("other").public_bytes(Encoding.DER), "a request for 'other', not for 'dev'"),
        (request_of().public_bytes(Encoding.DER), NOTHING),
        (request_of("dev", "dev").public_bytes(Encoding.DER), NOTHING),
        (request_of("dev").public_bytes(Encoding.PEM)[:100], NOTHING),
        (request_of("dev").public_bytes(Encoding.PEM).partition(b"-----END")[0], NOTHING),
    ],
)
def test_another_request_is_refused(given: object, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_request("dev", Hardware(given))
    assert str(caught.value) == f"key: its request() returned {told}"


def sequence(body: bytes) -> bytes:
    """Return a SEQUENCE in DER."""
    if len(body) < 128:
        return b"\x30" + bytes((len(body),)) + body
    length = len(body).to_bytes(1 if len(body) < 256 else 2)
    return b"\x30" + bytes((0x80 | len(length),)) + length + body


@pytest.mark.parametrize("size", [20, 125, 126, 127, 128, 129, 130, 253, 254, 255, 256, 257, 300])
def test_null_in_the_algorithm_of_a_signature_is_left_out_at_any_size(size: int) -> None:
    oid = bytes.fromhex("06082a8648ce3d040302")
    before, behind = b"\x02" * (size - 17), b"\x03" * 5
    right = sequence(before + b"\x30\x0a" + oid + behind)
    assert _without_null(sequence(before + b"\x30\x0c" + oid + b"\x05\x00" + behind)) == right
    assert _without_null(right) == right
    other = sequence(before + b"\x30\x0c" + oid + b"\x04\x00" + behind)
    assert _without_null(other) == other


def test_a_key_in_hardware_shows_the_stored_chain(tmp_path: Path) -> None:
    hard = Hardware(request_of("dev").public_bytes(Encoding.DER))
    store = CertificateStore(tmp_path, key=hard)
    pending = store.begin("dev")
    pending.accept(chain_for(pending))
    assert b"PRIVATE KEY" not in store.file.read_bytes()
    assert store.context(None) == "context"
    assert hard.shown == [store.file, None]
    assert CertificateStore(tmp_path).load() is None, "the chain alone is nothing"


# When another is asked for


def test_the_version_of_a_request_for_a_certificate() -> None:
    assert issue_version(DEFAULT_API_VERSION) == ISSUE_API_VERSION
    assert issue_version(ISSUE_API_VERSION) == ISSUE_API_VERSION
    with pytest.raises(UsageError, match=r"2021-06-01.*no certificate requests"):
        issue_version("2021-06-01")


class Dps:
    """Registers, or fails."""

    def __init__(self, error: MqttwsError | None = None, **options: Any) -> None:
        self.error = error
        self.asked: list[PendingCertificate] = []
        self._options = options

    async def __call__(self, pending: PendingCertificate) -> Assignment:
        self.asked.append(pending)
        if self.error is not None:
            raise self.error
        pending.accept(chain_for(pending, **self._options), PLACE)
        return PLACE


async def registered(store: CertificateStore, dps: Dps, **options: Any) -> Assignment:
    given = {
        "host": "DPS", "id_scope": "0NE00", "registration_id": "Dev", "force": False,
        "sends_payload": False,
    }  # fmt: skip
    return await register_with_certificate(store, dps, **given | options)


async def test_a_certificate_is_issued_once_until_it_is_due(tmp_path: Path) -> None:
    store, dps = CertificateStore(tmp_path, renew_after=0.9), Dps()
    first = await registered(store, dps)
    assert (first, first._credential) == (PLACE, store)
    found = store.load()
    assert found is not None
    assert found.binding == BINDING
    again = await registered(store, dps)
    assert (again, again._credential) == (PLACE, store)
    assert len(dps.asked) == 1
    for changed in ({"host": "other"}, {"id_scope": "x"}, {"registration_id": "dev2"}):
        with pytest.raises(CertificateNotIssued, match="asked"):
            await registered(store, Dps(CertificateNotIssued("asked")), **changed)
    await registered(store, dps, force=True)
    assert len(dps.asked) == 2
    await registered(CertificateStore(tmp_path, renew_after=0.1), dps)
    assert len(dps.asked) == 3


AWAY = ConnectFailed("away", hop=Hop.TCP, cause=Cause.SILENT, retryable=True)
WRONG = ConnectFailed("wrong", hop=Hop.TCP, retryable=False)


async def test_a_certificate_that_is_due_serves_while_dps_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored(tmp_path)
    store = CertificateStore(tmp_path, renew_after=0.1)
    kept = await registered(store, Dps(AWAY))
    assert (kept, kept._credential) == (PLACE, store)
    assert caplog.messages == ["the certificate is due and was not renewed, but is valid: away"]
    with pytest.raises(ConnectFailed, match="wrong"):
        await registered(store, Dps(WRONG))
    with pytest.raises(ConnectFailed, match="away"):
        await registered(store, Dps(AWAY), force=True)
    with pytest.raises(ConnectFailed, match="away"):
        await registered(CertificateStore(tmp_path / "none"), Dps(AWAY))


async def test_a_folder_that_cannot_be_used_is_told_before_dps_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    dps = Dps()
    with pytest.raises(StoreFailed):
        await registered(CertificateStore(tmp_path / "file" / "below"), dps)
    assert dps.asked == []


@pytest.mark.parametrize(
    ("status", "sends_payload", "cause", "explained"),
    [
        (400, False, Cause.CERTIFICATE_NOT_ISSUED, True),
        (400, True, Cause.ARGUMENT, True),
        (401, False, Cause.ARGUMENT, False),
    ],
)
async def test_a_refusal_may_be_for_the_request(
    tmp_path: Path, status: int, sends_payload: bool, cause: Cause, explained: bool
) -> None:
    error = RegistrationRejected("no", cause=Cause.ARGUMENT, hint="the hint")
    error.status = status
    with pytest.raises(RegistrationRejected) as caught:
        await registered(CertificateStore(tmp_path), Dps(error), sends_payload=sends_payload)
    assert caught.value is error
    assert error.cause is cause
    assert ("may not know certificate requests" in error.hint) is explained
    assert error.hint.endswith("the hint")


# provision() around it


class Registered:
    """Stands in for what registers by a plan."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plans: list[Plan] = []
        self.options: list[dict[str, Any]] = []
        monkeypatch.setattr(provision_module, "register", self)

    async def __call__(
        self, plan: Plan, *, pending: PendingCertificate | None = None, **options: Any
    ) -> Assignment:
        self.plans.append(plan)
        self.options.append(options)
        if pending is not None:
            pending.accept(chain_for(pending), PLACE)
        return PLACE


CREDENTIAL = SymmetricKey("dev", KEY)


async def test_the_synchronous_form_names_itself_inside_a_running_loop() -> None:
    with pytest.raises(UsageError, match=r"^provision\b"):
        provision("0ne00", CREDENTIAL)


async def test_the_arguments_of_a_registration_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    called = Registered(monkeypatch)
    steps: Callable[..., None] = print
    found = await provision_async(
        "0ne00", CREDENTIAL, host="dps", port=1443, path="/p", transport="wss", payload=[1],
        timeout=9.0, hop_timeout=8.0, request_timeout=7.0, api_version="2021-06-01", jitter=6.0,
        max_retry_after=5.0, pipelined="register", wait_for_network=True, proxy=None,
        on_step=steps, on_packet=steps,
    )  # fmt: skip
    assert (found, found._credential) == (PLACE, CREDENTIAL)
    assert called.plans == [
        Plan(
            "0ne00", CREDENTIAL, host="dps", port=1443, path="/p", transport="wss", proxy=None,
            api_version="2021-06-01", pipelined="register", wait_for_network=True,
            on_packet=steps,
        )
    ]  # fmt: skip
    assert called.options == [
        {
            "payload": [1], "timeout": 9.0, "hop_timeout": 8.0, "request_timeout": 7.0,
            "jitter": 6.0, "max_retry_after": 5.0, "on_step": steps,
        }
    ]  # fmt: skip


async def test_a_cached_assignment_is_taken_unless_it_is_forced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    called = Registered(monkeypatch)

    async def ask(**options: Any) -> Assignment:
        return await provision_async(
            "0ne00", CREDENTIAL, host="dps", cache=tmp_path / "a.json", **options
        )

    for options, times in (({}, 1), ({}, 1), ({"force": True}, 2)):
        found = await ask(**options)
        assert (found, found._credential) == (PLACE, CREDENTIAL)
        assert len(called.plans) == times

    def fail(*_: object) -> None:
        raise StoreFailed("the disk is full")

    monkeypatch.setattr(AssignmentFile, "store", fail)
    with caplog.at_level(logging.WARNING):
        assert await ask(force=True) == PLACE, "the device is assigned"
    assert caplog.messages == ["the disk is full"]
    with pytest.raises(StoreFailed, match="cannot be kept"):
        await provision_async("0ne00", CREDENTIAL, host="dps", cache=tmp_path / "no" / "a.json")
    assert len(called.plans) == 3, "nothing was sent"


async def test_a_certificate_is_issued_with_its_own_version_and_no_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called = Registered(monkeypatch)
    store = CertificateStore(tmp_path)
    with pytest.raises(UsageError, match="cache and issue"):
        await provision_async("0ne00", CREDENTIAL, cache=tmp_path / "a.json", issue=store)
    assert called.plans == []
    found = await provision_async("0ne00", CREDENTIAL, host="dps", issue=store)
    assert (found, found._credential) == (PLACE, store)
    assert called.plans[0].api_version == ISSUE_API_VERSION
    kept = store.load()
    assert kept is not None
    assert kept.binding == BINDING
    await provision_async("0ne00", CREDENTIAL, host="dps", issue=store, force=True)
    assert len(called.plans) == 2
