"""The development CA and the server's certificate: made once, reused, renewed, and private."""

import datetime
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from mqttws import StoreDamaged, StoreFailed, UsageError
from mqttws.local.certificates import CA_LIFETIME, prepare_certificates


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_certificates_are_made_once_and_reused(tmp_path: Path) -> None:
    prepare_certificates(tmp_path / "state")
    before = contents(tmp_path / "state")
    prepare_certificates(tmp_path / "state")
    assert contents(tmp_path / "state") == before
    assert set(before) == {"ca.pem", "ca.key", "server.pem", "server.key"}


def test_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    prepare_certificates(tmp_path / "state")
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((tmp_path / "state" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_another_host_gets_a_new_server_certificate_from_the_same_ca(tmp_path: Path) -> None:
    first = prepare_certificates(tmp_path)
    ca = first.ca_file.read_bytes()
    prepare_certificates(tmp_path, ["dps.test", "192.0.2.7"])
    assert first.ca_file.read_bytes() == ca
    certificate = x509.load_pem_x509_certificate(first.chain_file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "dps.test"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == [
        "127.0.0.1",
        "::1",
        "192.0.2.7",
    ]


def test_a_lost_ca_is_made_anew_with_a_server_certificate_of_its_own(tmp_path: Path) -> None:
    files = prepare_certificates(tmp_path)
    (tmp_path / "ca.key").unlink()
    prepare_certificates(tmp_path)
    server = x509.load_pem_x509_certificate(files.chain_file.read_bytes())
    server.verify_directly_issued_by(x509.load_pem_x509_certificate(files.ca_file.read_bytes()))


def test_files_that_do_not_belong_together_are_made_anew(tmp_path: Path) -> None:
    files = prepare_certificates(tmp_path / "a")
    for name in ("ca.key", "server.key"):
        other = prepare_certificates(tmp_path / name)
        (tmp_path / "a" / name).write_bytes((other.ca_file.parent / name).read_bytes())
        prepare_certificates(tmp_path / "a").context()
        server = x509.load_pem_x509_certificate(files.chain_file.read_bytes())
        server.verify_directly_issued_by(x509.load_pem_x509_certificate(files.ca_file.read_bytes()))


def test_keys_that_were_opened_to_others_are_closed_again(tmp_path: Path) -> None:
    prepare_certificates(tmp_path)
    (tmp_path / "ca.key").chmod(0o644)
    prepare_certificates(tmp_path)
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600


def test_processes_that_start_at_once_on_one_folder_agree(tmp_path: Path) -> None:
    start = (
        "import sys, pathlib\n"
        "from mqttws.local.certificates import prepare_certificates\n"
        "sys.stdin.read(1)\n"
        "prepare_certificates(pathlib.Path(sys.argv[1])).context()\n"
    )
    for folder in (tmp_path / str(number) for number in range(3)):
        started = [
            subprocess.Popen([sys.executable, "-c", start, str(folder)], stdin=subprocess.PIPE)
            for _ in range(3)
        ]
        for process in started:
            assert process.stdin is not None
            process.stdin.write(b"x")
            process.stdin.flush()
        for process in started:
            process.communicate(timeout=60)
            assert process.returncode == 0


@pytest.mark.parametrize("host", ["a..b", "a" * 70])
def test_a_host_that_cannot_be_one_is_told(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError, match="host"):
        prepare_certificates(tmp_path / "state", [host])
    assert not (tmp_path / "state").exists()


def test_what_is_about_to_end_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = prepare_certificates(tmp_path)
    before = files.chain_file.read_bytes()
    monkeypatch.setattr(
        "mqttws.local.certificates.RENEW_BEFORE", CA_LIFETIME - datetime.timedelta(days=30)
    )
    prepare_certificates(tmp_path)
    assert files.chain_file.read_bytes() != before


def test_the_strictest_verification_is_satisfied(tmp_path: Path) -> None:
    """Python 3.13 verifies by RFC 5280 to the letter."""
    files = prepare_certificates(tmp_path)
    client = ssl.create_default_context(cafile=str(files.ca_file))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = files.context().wrap_bio(sent, received, server_side=True)
    client_side = client.wrap_bio(received, sent, server_hostname="localhost")
    for _ in range(4):
        for end in (client_side, server_side):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client_side.version() == "TLSv1.3"
    assert client_side.getpeercert()


@pytest.mark.parametrize("name", ["ca.pem", "ca.key", "server.pem"])
def test_a_file_that_is_none_of_ours_is_told_and_left_alone(tmp_path: Path, name: str) -> None:
    prepare_certificates(tmp_path)
    (tmp_path / name).write_text("mine")
    if name == "ca.key":  # it is needed when the server's certificate must be made
        (tmp_path / "server.pem").unlink()
    with pytest.raises(StoreDamaged, match="cannot be read") as caught:
        prepare_certificates(tmp_path)
    assert "--state" in caught.value.hint
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed, match="state folder"):
        prepare_certificates(tmp_path / "file" / "below")
