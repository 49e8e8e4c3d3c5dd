"""What goes wrong at a desk: each ends in one line with a hint, and not with exit code 0."""

import base64
import datetime
import hashlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mqttws import Hop
from mqttws.local.certificates import (
    make_ca,
    make_server_certificate,
    prepare_certificates,
)
from mqttws.local.x509 import DeviceAuthority

from .shell import (
    KEY,
    OTHER_KEY,
    Service,
    individual,
    only_line,
    peer,
    run,
    secret_file,
    serving,
)

SHORT_KEY = "c2hvcnQ="


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    records = [
        individual("good"),
        individual("off", provisioningStatus="disabled"),
        individual("homeless", allocationPolicy="static", iotHubs=["a.example", "b.example"]),
    ]
    with serving(tmp_path_factory.mktemp("state"), records) as service:
        yield service
        # It has survived all of this, and says so in lines without a traceback.
        good = ("provision", *service.to_reach, "--registration-id", "good")
        assert run(*good, MQTTWS_KEY=KEY).returncode == 0
    assert not [line for line in service.running.stderr if "Traceback" in line]
    assert KEY not in "\n".join(service.running.stderr)


def fails(
    *arguments: str | Path,
    kind: str,
    hop: str,
    message: str,
    hint: str,
    key: str = KEY,
) -> None:
    """Run ``provision``; check the class and hop of the error, and that it is one line."""
    done = run("provision", *arguments, "--json", MQTTWS_KEY=key)
    found = json.loads(done.stdout)
    hops_code = Hop(hop).exit_code
    assert done.returncode == hops_code + (0 if found["retryable"] else 40), done.stderr
    assert done.returncode == found["exit_code"]
    assert (found["status"], found["error"], found["hop"]) == ("error", kind, hop)
    line = only_line(done.stderr)
    assert line.startswith("mqttws: ")
    assert message in line
    assert hint
    assert hint in found["hint"]
    assert line.endswith(f"; {found['hint']}")
    assert "Traceback" not in line
    assert KEY not in done.stdout + done.stderr


GOOD = ("--registration-id", "good")

AT_THE_SERVICE = {
    "unknown scope": (
        (*GOOD, "--id-scope", "0ne00WRONG"),
        KEY,
        (
            "ConnectRefused",
            "connect",
            "unavailable",
            "wrong id scope",
        ),
    ),
    "wrong key": (
        GOOD,
        OTHER_KEY,
        ("RegistrationRejected", "register", "401", "check the key"),
    ),
    "unknown registration": (
        ("--registration-id", "nobody"),
        KEY,
        ("RegistrationRejected", "register", "404", "enroll it"),
    ),
    "disabled enrollment": (
        ("--registration-id", "off"),
        KEY,
        ("RegistrationFailed", "register", "disabled", "enable the enrollment"),
    ),
    "no hub to assign to": (
        ("--registration-id", "homeless"),
        KEY,
        ("RegistrationFailed", "poll", "400208", "IoT hub"),
    ),
    "wrong path": (
        (*GOOD, "--path", "/elsewhere"),
        KEY,
        ("UpgradeRefused", "upgrade", "HTTP 404 Not Found", "no WebSocket at this path"),
    ),
}


@pytest.mark.parametrize("name", AT_THE_SERVICE)
def test_what_the_service_refuses(service: Service, name: str) -> None:
    arguments, key, (kind, hop, message, hint) = AT_THE_SERVICE[name]
    fails(*service.to_reach, *arguments, key=key, kind=kind, hop=hop, message=message, hint=hint)


def test_a_ca_that_did_not_sign_the_servers_certificate(service: Service, dps_state: Path) -> None:
    other = prepare_certificates(dps_state).ca_file
    fails(
        *(*service.to_reach, *GOOD, "--ca", str(other)),
        kind="CertificateRejected",
        hop="tls",
        message="certificate rejected",
        hint="--ca",
    )


def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    ca, ca_key = make_ca(now)
    server, key = make_server_certificate(ca, ca_key, ("elsewhere.example",), now)
    pem = serialization.Encoding.PEM
    (tmp_path / "ca.pem").write_bytes(ca.public_bytes(pem))
    (tmp_path / "both.pem").write_bytes(
        server.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    with peer(context=context) as port:
        fails(
            *at(port, tmp_path / "ca.pem"),
            kind="CertificateRejected",
            hop="tls",
            message="certificate rejected",
            hint="connect by a name",
        )


def at(port: int, ca: Path | None = None) -> tuple[str | Path, ...]:
    """Return options of ``provision`` that lead to a peer on this machine."""
    where = ("--id-scope", "s", *GOOD, "--host", "127.0.0.1", "--port", str(port))
    return where if ca is None else (*where, "--ca", ca)


def test_nothing_listens() -> None:
    with socket.socket() as bound:  # a port that is taken, and on which nobody listens
        bound.bind(("127.0.0.1", 0))
        fails(
            *at(bound.getsockname()[1]),
            kind="Unreachable",
            hop="tcp",
            message="refused",
            hint="nothing listens there",
        )


@pytest.mark.parametrize("host", ["host.invalid", "a..b", "x" * 64 + ".example"])
def test_a_name_that_is_not_found(host: str) -> None:
    fails(
        *("--id-scope", "s", *GOOD, "--host", host),
        kind="NameNotResolved",
        hop="name",
        message=host,
        hint="check the host's spelling",
    )


def test_a_server_that_speaks_no_tls() -> None:
    with peer(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        fails(
            *at(port),
            kind="TlsFailed",
            hop="tls",
            message="tls: ",
            hint="does not speak TLS",
        )


def test_a_server_that_says_nothing() -> None:
    with peer() as port:
        fails(
            *(*at(port), "--timeout", "1"),
            kind="HopTimedOut",
            hop="tls",
            message="no answer before",
            hint="TLS is not answered",
        )


def _no_subprotocol(request: bytes) -> bytes:
    lines = dict(line.split(": ", 1) for line in request.decode().splitlines() if ": " in line)
    magic = lines["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(magic.encode()).digest()).decode()
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()


BEHIND_TLS = {
    "a refused upgrade": (
        # It asks for more time than there is: the attempt is the last one.
        lambda _: b"HTTP/1.1 503 Down\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n",
        ("UpgradeRefused", "upgrade", "HTTP 503 Down", "try again later"),
    ),
    "no subprotocol": (
        _no_subprotocol,
        ("SubprotocolRefused", "upgrade", "without the subprotocol mqtt", "not an MQTT service"),
    ),
    "no HTTP": (
        lambda _: b"\x20\x02\x00\x00 this is not HTTP\r\n\r\n",
        ("UpgradeRefused", "upgrade", "not HTTP", "check the port"),
    ),
    "silence": (None, ("HopTimedOut", "upgrade", "no answer before", "said nothing")),
}


@pytest.mark.parametrize("name", BEHIND_TLS)
def test_a_server_that_is_no_mqtt_service(dps_state: Path, name: str) -> None:
    answer: Callable[[bytes], bytes] | None
    answer, (kind, hop, message, hint) = BEHIND_TLS[name]
    certificates = prepare_certificates(dps_state)
    with peer(answer, certificates.context()) as port:
        arguments = (*at(port, certificates.ca_file), "--timeout", "60" if answer else "2")
        fails(*arguments, kind=kind, hop=hop, message=message, hint=hint)


# Files and keys


def is_refused(*arguments: str | Path, part: str, code: int = 2, **env: str) -> str:
    """Run a command that must end at once, in one line, with ``code``; return the line."""
    done = run(*arguments, **env)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    line = only_line(done.stderr)
    assert line.startswith("mqttws: ")
    assert part in line
    return line


UNUSABLE = 41
"""Exit code where a file is missing, unreadable or damaged."""

PROVISION = ("provision", "--id-scope", "0ne00LOCAL", *GOOD, "--host", "127.0.0.1")


def test_no_key_at_all() -> None:
    line = is_refused(*PROVISION, part="no key")
    assert "--key-file" in line
    assert "MQTTWS_KEY" in line


@pytest.mark.rule("DPS-B-key/device")
@pytest.mark.parametrize("key", [SHORT_KEY, "not base64 but a secret", KEY[:-3], KEY + KEY])
def test_a_key_that_cannot_be_one_is_not_shown(key: str) -> None:
    line = is_refused(*PROVISION, part="key", MQTTWS_KEY=key)
    assert key not in line
    assert "copy it whole" in line


def test_a_key_file_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)))
    binary.chmod(0o600)
    empty = secret_file(tmp_path / "empty", "\n")
    missing = tmp_path / "missing\x1b[31m\n"
    for file, fault in (
        (missing, "No such file"),
        (tmp_path, "Is a directory"),
        (binary, "not UTF-8"),
        (empty, "empty"),
    ):
        is_refused(*PROVISION, "--key-file", file, part=fault, code=UNUSABLE)
    is_refused(*PROVISION, "--key-file", "-", part="empty", code=UNUSABLE)


@pytest.mark.parametrize("text", ["no certificate", "", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_ca_file_that_holds_no_certificate(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(text)
    is_refused(*PROVISION, "--ca", file, part="no certificate", code=UNUSABLE, MQTTWS_KEY=KEY)
    missing = tmp_path / "none"
    is_refused(*PROVISION, "--ca", missing, part="No such", code=UNUSABLE, MQTTWS_KEY=KEY)


def test_a_payload_that_is_not_json(tmp_path: Path) -> None:
    file = tmp_path / "payload.json"
    file.write_text('{"a": 1,\n "b" 2}')
    read = (*PROVISION, "--payload", file)
    is_refused(*read, part="payload.json: line 2", code=UNUSABLE, MQTTWS_KEY=KEY)
    file.write_text("[NaN]")
    is_refused(*read, part="NaN", code=UNUSABLE, MQTTWS_KEY=KEY)
    is_refused(*PROVISION, "--payload", "-", "--key-file", "-", part="only one file")


def test_a_certificate_that_cannot_be_one(tmp_path: Path) -> None:
    device = DeviceAuthority.root().issue("good")
    both, sealed = tmp_path / "both.pem", tmp_path / "sealed.pem"
    both.write_bytes(device.chain + device.key)
    for file in (both, sealed):
        file.touch(0o600)
        file.chmod(0o600)
    key = load_pem_private_key(device.key, None)
    encryption = serialization.BestAvailableEncryption(b"right")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    sealed.write_bytes(device.chain + key.private_bytes(*form, encryption))
    is_refused(*PROVISION, "--cert", both, "--group-key", part="not both")
    is_refused(*PROVISION, "--cert", both, "--key-file", both, part="not both")
    is_refused(*PROVISION, "--cert-key", both, part="--cert")
    is_refused(*PROVISION, "--cert", tmp_path / "none", part="No such file", code=UNUSABLE)
    is_refused(*PROVISION, "--cert", both, "--registration-id", "other", part="common name")
    is_refused(*PROVISION, "--cert", sealed, part="is encrypted")
    line = is_refused(
        *PROVISION, "--cert", sealed, part="with this password", MQTTWS_KEY_PASSWORD="wrong"
    )
    assert "'wrong'" not in line
    here = [word for word in PROVISION if word not in GOOD]
    is_refused(*here, part="'--registration-id'", MQTTWS_KEY=KEY)


@pytest.mark.rule("DPS-B-registration-id/device")
@pytest.mark.parametrize("words", [("--registration-id", "a b"), ("--id-scope", "a/b")])
def test_a_name_that_cannot_be_one(words: tuple[str, str]) -> None:
    is_refused(*PROVISION, *words, part=words[0][2:].replace("-", " "), MQTTWS_KEY=KEY)


WRONG_FILES = {
    "": "line 1, column 1: not JSON",
    '[{"registrationId": "a",]': "line 1, column 25: not JSON",
    "{}": "expected either registrationId or enrollmentGroupId",
    "[1]": "[0]: found a number; expected an enrollment",
    '[{"registrationId": "a", "attestation": {"type": "tpm"}}]': "[0].attestation.tpm: ",
    json.dumps([individual("a"), individual("A")]): "[1].registrationId: ",
    json.dumps([individual("a b")]): "[0].registrationId: ",
    json.dumps(
        [individual("a", KEY + "!")]
    ): "[0].attestation.symmetricKey.primaryKey: the key is not base64; expected",
    json.dumps([individual("a", SHORT_KEY)]): "primaryKey: a key of 5 bytes",
    json.dumps([individual("a", DeviceID="red")]): "[0].DeviceID: unknown; expected one of",
    "[" * 100_000: "nested too deep",
}


@pytest.mark.rule("DPS-B-enrollments/service")
@pytest.mark.parametrize("text", WRONG_FILES, ids=lambda text: text[:40])
def test_a_wrong_enrollment_file_is_named_with_the_place_in_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "fleet.json"
    file.write_text(text)
    ports = ("--wss-port", "0", "--mqtts-port", "0")
    state = tmp_path / "state"
    line = is_refused(
        *("serve", *ports, "--state", state, "--enrollments", file),
        part=WRONG_FILES[text],
        code=UNUSABLE,
    )
    assert line.startswith(f"mqttws: {file}: ")
    assert KEY not in line
    assert SHORT_KEY not in line


def test_an_enrollment_file_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "none.json"
    is_refused("serve", "--enrollments", missing, part="none.json: No such file", code=UNUSABLE)


@pytest.mark.parametrize("host", ["127.0.0.1:8443", "[::1]:8443"])
def test_a_port_in_the_host_goes_into_its_own_option(host: str) -> None:
    is_refused(*PROVISION, "--host", host, part="--port 8443", MQTTWS_KEY=KEY)


def test_a_key_file_that_powershell_has_written_is_read(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(f"{KEY}\r\n".encode("utf-16"))
    good = ("provision", *service.to_reach, "--registration-id", "good", "--key-file", file)
    assert run(*good).returncode == 0
