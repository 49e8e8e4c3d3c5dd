"""A certificate issued from a shell: mqttws serve, and mqttws provision --issue-certificate."""

import json
import stat
import time
from datetime import datetime
from pathlib import Path

import pytest

from mqttws import CredentialPolicy, LocalDps
from mqttws.cli.issuing import _read_policy

from .shell import run


def provision(dps: LocalDps, folder: Path, key: str, *more: str) -> dict[str, object]:
    (folder / "key").write_text(key)
    (folder / "key").chmod(0o600)
    words = ["provision", "--id-scope", dps.id_scope, "--registration-id", "dev", "--json"]
    words += ["--key-file", str(folder / "key"), "--host", dps.host, "--port", str(dps.wss_port)]
    words += ["--ca", str(dps.ca_file), *more]
    done = run(*words)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_certificate_is_issued_and_used_again(local_dps_sync: LocalDps, tmp_path: Path) -> None:
    dps = local_dps_sync
    key = dps.enroll_device("dev", credential_policy="default")
    folder = tmp_path / "device"
    first = provision(dps, tmp_path, key, "--issue-certificate", str(folder))
    assert first["status"] == "assigned"
    certificate = first["certificate"]
    assert isinstance(certificate, dict)
    assert certificate["file"] == str(folder / "certificate.pem")
    assert stat.S_IMODE((folder / "certificate.pem").stat().st_mode) == 0o600
    left = datetime.fromisoformat(str(certificate["expires"])).timestamp() - time.time()
    assert 29 * 86_400 < left <= 30 * 86_400
    again = provision(dps, tmp_path, key, "--issue-certificate", str(folder))
    assert again["operation_id"] == first["operation_id"]
    assert again["steps"] == []
    assert "certificate" not in provision(dps, tmp_path, key)
    assert "PRIVATE" not in json.dumps(first)


def test_a_service_without_a_policy_ends_in_an_error_with_its_cause(
    local_dps_sync: LocalDps, tmp_path: Path
) -> None:
    dps = local_dps_sync
    key = dps.enroll_device("dev")
    failed = provision(dps, tmp_path, key, "--issue-certificate", str(tmp_path / "device"))
    assert failed["status"] == "error"
    assert failed["cause"] == "certificate-not-issued"


@pytest.fixture
def local_dps_sync(tmp_path: Path) -> "LocalDps":
    """A running local DPS in a thread."""
    with LocalDps(state=tmp_path / "state") as dps:
        yield dps  # type: ignore[misc]


def test_policies_are_read_as_a_shell_writes_them() -> None:
    for text, wanted in (
        ("short=90s", CredentialPolicy("short", 90, 1)),
        ("a-b=12h,0", CredentialPolicy("a-b", 43_200, 0)),
        ("fleet=30d,3", CredentialPolicy("fleet", 30 * 86_400, 3)),
    ):
        assert _read_policy(text) == wanted


@pytest.mark.parametrize(
    "words",
    [["--credential-policy", "short"], ["--credential-policy", "short=91d"],
     ["--credential-policy", "short=1d,4"], ["--connection-profile", "hub"],
     ["--issuing-ca", ""]],
)  # fmt: skip
def test_wrong_options_of_serve_are_told(words: list[str], tmp_path: Path) -> None:
    ports = ["--wss-port", "0", "--mqtts-port", "0", "--state", str(tmp_path)]
    done = run("serve", *ports, *words)
    assert done.returncode == 2, done.stderr
    assert words[0].strip("-").split("-")[0] in done.stderr
