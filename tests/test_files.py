"""Files that cannot be used: whichever call or command reads one, the error is the file's.

A caller's mistake (a wrong type, a key without a certificate) is another matter: ``UsageError``.
"""

import ast
import errno
import os
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import mqttws
from mqttws import (
    AsyncClient,
    Cause,
    CertificateNotValid,
    CertificateStore,
    LocalDps,
    MqttwsError,
    Party,
    SymmetricKey,
    TlsConfig,
    UnusableFile,
    UsageError,
    X509Certificate,
    diagnose,
    provision,
)
from mqttws.errors import unreadable_file
from mqttws.local.x509 import DeviceAuthority

from .cli.shell import KEY, run, secret_file

DEVICE = DeviceAuthority.root().issue("dev-1")
OTHER = DeviceAuthority.root().issue("dev-2")


def good(folder: Path) -> tuple[Path, Path]:
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(DEVICE.chain)
    key.touch(0o600)
    key.write_bytes(DEVICE.key)
    return chain, key


def missing(file: Path) -> None:
    file.unlink(missing_ok=True)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def a_folder(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.mkdir()


def noise(file: Path) -> None:
    file.write_bytes(bytes(range(128, 256)) * 8)


def cut_off(file: Path) -> None:
    file.write_bytes(DEVICE.chain[:200])


SPOILT = (missing, empty, a_folder, noise, cut_off)

CALLS: dict[str, Callable[[Path, Path], object]] = {
    "TlsConfig(ca)": lambda file, _: TlsConfig(ca=file).context(),
    "TlsConfig(ca) as str": lambda file, _: TlsConfig(ca=str(file), only_ca=True).context(),
    "TlsConfig(certificate)": lambda file, folder: TlsConfig(
        certificate=file, key=good(folder)[1]
    ).context(),
    "TlsConfig(key)": lambda file, folder: TlsConfig(
        certificate=good(folder)[0], key=file
    ).context(),
    "X509Certificate(chain)": lambda file, folder: X509Certificate(file, good(folder)[1]),
    "X509Certificate(key)": lambda file, folder: X509Certificate(good(folder)[0], file),
    "provision(tls)": lambda file, _: provision(
        "0ne00LOCAL", SymmetricKey("d", KEY), host="127.0.0.1", tls=TlsConfig(ca=file), timeout=5
    ),
    "diagnose(tls)": lambda file, _: diagnose("127.0.0.1", tls=TlsConfig(ca=file), timeout=5),
    "LocalDps(issuing_ca)": lambda file, _: LocalDps(issuing_ca=file).start(),
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("name", CALLS)
def test_a_file_that_cannot_be_used_is_no_mistake_of_the_caller(
    name: str, spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    file = tmp_path / "named.pem"
    spoil(file)
    with pytest.raises(UnusableFile) as caught:
        CALLS[name](file, tmp_path)
    check(caught.value, file)


def check(error: MqttwsError, file: Path) -> None:
    assert isinstance(error, UnusableFile)
    assert not isinstance(error, ValueError)
    assert error.file == str(file)
    assert str(file) in str(error)
    assert error.cause in (Cause.FILE_UNREADABLE, Cause.FILE_DAMAGED)
    assert (error.hop, error.party, error.retryable) == (None, Party.HOST, False)
    assert error.exit_code == 41
    assert error.to_json()["facts"] == {"file": str(file)}


PROVISION = ("provision", "--id-scope", "0ne00LOCAL", "--host", "127.0.0.1", "--port", "1")
NAMED = (*PROVISION, "--registration-id", "d")
ADMIN = ("enroll", "--admin", "http://127.0.0.1:1")

COMMANDS: dict[str, tuple[str, ...]] = {
    "--key-file": (*NAMED, "--key-file", "FILE"),
    "--ca": (*NAMED, "--ca", "FILE"),
    "--payload": (*NAMED, "--payload", "FILE"),
    "--cert": (*PROVISION, "--cert", "FILE"),
    "--proxy-file": (*NAMED, "--proxy-file", "FILE"),
    "doctor --ca": ("doctor", "127.0.0.1", "--port", "1", "--ca", "FILE"),
    "doctor --key-file": (
        *("doctor", "127.0.0.1", "--id-scope", "0ne00LOCAL", "--registration-id", "d"),
        *("--key-file", "FILE"),
    ),
    "publish --ca": ("publish", "mqtts://127.0.0.1:1", "t", "--payload", "x", "--ca", "FILE"),
    "publish --client-cert": (
        *("publish", "mqtts://127.0.0.1:1", "t", "--payload", "x"),
        *("--client-cert", "FILE"),
    ),
    "subscribe --ca": ("subscribe", "mqtts://127.0.0.1:1", "t", "--ca", "FILE"),
    "provision-fleet": ("provision-fleet", "FILE", "--id-scope", "0ne00LOCAL"),
    "--group-key-file": (
        *("provision-fleet", "fleet.csv", "--id-scope", "0ne00LOCAL"),
        *("--group-key-file", "FILE"),
    ),
    "device run": ("device", "run", "--connection-string-file", "FILE"),
    "serve --enrollments": ("serve", "--wss-port", "0", "--enrollments", "FILE"),
    "serve --admin-token-file": (
        *("serve", "--wss-port", "0", "--admin-port", "0", "--admin-token-file", "FILE"),
    ),
    "enroll put": (*ADMIN, "put", "FILE"),
    "enroll import": (*ADMIN, "import", "FILE"),
    "enroll --ca": ("enroll", "--admin", "https://127.0.0.1:1", "--ca", "FILE", "list"),
    "hub": ("hub", "--connection-file", "FILE", "devices"),
    "derive-key": ("derive-key", "--registration-id", "d", "--key-file", "FILE"),
}


@pytest.mark.parametrize("spoil", [missing, empty, a_folder, noise], ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_ends_with_the_code_of_a_bad_file(
    name: str, spoil: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "named"
    spoil(file)
    words = [str(file) if word == "FILE" else word for word in COMMANDS[name]]
    done = run(*words, MQTTWS_KEY="" if "--key-file" in words else KEY)
    assert done.returncode == 41, done.stderr
    assert str(file) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_name_is_a_mistake_of_the_command_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["" if word == "FILE" else word for word in COMMANDS[name]]
    done = run(*words, MQTTWS_KEY="" if "--key-file" in words else KEY)
    assert done.returncode == 2, done.stderr


@pytest.mark.parametrize("content", [b"", b"no key and no certificate", DEVICE.chain[:200]])
def test_the_same_content_as_bytes_is_an_argument(content: bytes) -> None:
    for make in (
        lambda: TlsConfig(ca=content).context(),
        lambda: TlsConfig(certificate=content, key=DEVICE.key).context(),
        lambda: TlsConfig(certificate=DEVICE.chain, key=content).context(),
        lambda: X509Certificate(content, DEVICE.key),
        lambda: X509Certificate(DEVICE.chain, content),
    ):
        with pytest.raises(UsageError):
            make()


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_is_no_files_name_is_an_argument(name: str) -> None:
    with pytest.raises(UsageError, match=r"(?i)ca"):
        TlsConfig(ca=name).context()
    with pytest.raises(UsageError):
        X509Certificate(name, DEVICE.key)


def test_a_key_of_another_certificate_is_a_fault_of_the_files(tmp_path: Path) -> None:
    """A renewal that was cut off leaves such a pair."""
    chain, key = good(tmp_path)
    key.write_bytes(OTHER.key)
    for make in (
        lambda: X509Certificate(chain, key),
        lambda: TlsConfig(certificate=chain, key=key).context(),
    ):
        with pytest.raises(UnusableFile) as caught:
            make()
        assert (caught.value.cause, caught.value.retryable) == (Cause.KEY_MISMATCH, False)
    with pytest.raises(UsageError):
        X509Certificate(DEVICE.chain, OTHER.key)


def test_a_file_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="longer than"):
        TlsConfig(ca="/dev/zero").context()


@pytest.mark.parametrize(("number", "passes"), [(errno.EMFILE, True), (errno.EACCES, False)])
def test_a_host_that_is_short_of_something_can_try_again(number: int, passes: bool) -> None:
    error = unreadable_file("the file f", "f", OSError(number, os.strerror(number)))
    assert error.retryable is passes
    assert error.exit_code == (1 if passes else 41)


def test_a_key_that_openssl_cannot_be_handed_is_a_fault_of_this_host(tmp_path: Path) -> None:
    chain, key = good(tmp_path)
    short = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    with mock.patch.object(os, "memfd_create", side_effect=short, create=True):
        with pytest.raises(mqttws.StoreFailed, match="Too many open files"):
            TlsConfig(certificate=chain, key=key, maximum_version=ssl.TLSVersion.TLSv1_2).context()


@pytest.mark.parametrize(
    ("seconds", "cause", "retryable"),
    [
        (1e9, Cause.OWN_CERTIFICATE_EXPIRED, False),
        (-1e6, Cause.OWN_CERTIFICATE_NOT_YET_VALID, True),
    ],
)
def test_the_dates_of_the_devices_certificate_are_no_mistake_of_the_caller(
    seconds: float, cause: Cause, retryable: bool
) -> None:
    credential = X509Certificate(DEVICE.chain, DEVICE.key)
    with pytest.raises(CertificateNotValid) as caught:
        credential.password("0ne00LOCAL", time.time() + seconds)
    error = caught.value
    assert (error.cause, error.party, error.retryable) == (cause, Party.HOST, retryable)
    assert error.exit_code == (1 if retryable else 41)
    assert error.hint


def test_a_store_that_is_damaged_says_so_and_an_empty_one_that_nothing_is_in_it(
    tmp_path: Path,
) -> None:
    store = CertificateStore(tmp_path)
    with pytest.raises(UsageError, match="no certificate is stored"):
        store.digest("c")
    store.file.write_text("-----BEGIN CERTIFICATE-----")
    for ask in (lambda: store.registration_id, store.begin_renewal, lambda: store.context(None)):
        with pytest.raises(mqttws.StoreDamaged, match="cannot be used"):
            ask()
    store.file.unlink()
    store.file.mkdir()
    with pytest.raises(mqttws.StoreFailed):
        store.digest("c")


async def test_a_client_says_so_when_it_connects(tmp_path: Path) -> None:
    client = AsyncClient("mqtts://127.0.0.1:1", tls=TlsConfig(ca=tmp_path / "none"))
    with pytest.raises(UnusableFile):
        await client.connect()
    await client.disconnect()


def test_a_secret_that_others_can_read_is_told_as_ssh_does(tmp_path: Path) -> None:
    file = secret_file(tmp_path / "key", "no key")
    for mode, told in ((0o644, True), (0o640, True), (0o600, False)):
        file.chmod(mode)
        done = run(*NAMED, "--key-file", file)
        assert (f"chmod 600 {file}" in done.stderr) is told, done.stderr
        assert "no key" not in done.stderr
        done = run(*ADMIN, "--token-file", file, "list")
        assert (f"chmod 600 {file}" in done.stderr) is told, done.stderr


NO_FILE = {"local/handed.py": "the numbers in a variable are no open sockets: the variable's fault"}
"""Modules in which an ``OSError`` is of what the caller gave, and of no file."""


def handlers() -> Iterator[tuple[str, ast.ExceptHandler]]:
    root = Path(mqttws.__file__).parent
    for path in sorted(root.rglob("*.py")):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)) if "OSError" in source else ():
            if isinstance(node, ast.ExceptHandler) and "OSError" in ast.unparse(node.type or node):
                yield f"{path.relative_to(root)}:{node.lineno}", node


def test_no_failure_of_the_system_is_called_a_mistake_of_the_caller() -> None:
    found: list[Any] = list(handlers())
    assert len(found) > 50
    for place, handler in found:
        if place.partition(":")[0] in NO_FILE:
            continue
        made = [ast.unparse(node.func) for node in ast.walk(handler) if isinstance(node, ast.Call)]
        assert not [name for name in made if name.endswith("UsageError")], place
