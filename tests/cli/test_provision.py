"""``mqttws provision``: a device's key goes in, its hub comes out."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from mqttws.local.certificates import prepare_certificates
from mqttws.local.x509 import DeviceAuthority

from ..local import x509_world
from .shell import KEY, MQTTWS, OTHER_KEY, Service, environment, individual, peer, run, serving

pty = pytest.importorskip("pty")


def group(name: str, key: str) -> dict[str, object]:
    keys = {"primaryKey": key}
    attestation = {"type": "symmetricKey", "symmetricKey": keys}
    return {"enrollmentGroupId": name, "attestation": attestation}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    records = [
        individual("my-device", deviceId="device-1"),
        group("my-group", OTHER_KEY),
        x509_world.group("certified", ROOT),
    ]
    with serving(tmp_path_factory.mktemp("state"), records) as service:
        yield service


ROOT = DeviceAuthority.root()

VARIABLE = "MQTTWS_KEY_PASSWORD"

MY_DEVICE = ("--registration-id", "my-device")


def test_a_key_from_the_environment(service: Service) -> None:
    done = run("provision", *service.to_reach, *MY_DEVICE, MQTTWS_KEY=KEY)
    assert done.returncode == 0
    assert done.stderr == "", "steps are for people who look on"
    lines = done.stdout.splitlines()
    assert lines[:2] == ["assigned hub  local-hub.azure-devices.net", "device id     device-1"]
    assert lines[2].startswith("substatus     ")


@pytest.mark.parametrize("text", [KEY, f"{KEY}\n", f"\ufeff  {KEY}\r\n\n"])
def test_a_key_from_a_file(service: Service, tmp_path: Path, text: str) -> None:
    file = tmp_path / "my key"
    file.write_text(text, encoding="utf-8")
    # A file that is named prevails over the environment.
    done = run("provision", *service.to_reach, *MY_DEVICE, "--key-file", file, MQTTWS_KEY=OTHER_KEY)
    assert done.returncode == 0, done.stderr


def test_a_key_from_standard_input(service: Service) -> None:
    done = run("provision", *service.to_reach, *MY_DEVICE, "--key-file", "-", stdin=f"{KEY}\n")
    assert done.returncode == 0, done.stderr


def test_the_groups_key_is_derived_for_the_device(service: Service) -> None:
    member = ("provision", *service.to_reach, "--registration-id", "member-1")
    assert run(*member, "--group-key", MQTTWS_KEY=OTHER_KEY).returncode == 0
    assert run(*member, MQTTWS_KEY=OTHER_KEY).returncode == 60, "the group's own key is refused"


def sealed(key: bytes, password: str) -> bytes:
    """Return a private key's PEM, encrypted."""
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
    )


def test_a_certificate_from_files(service: Service, tmp_path: Path) -> None:
    device = ROOT.intermediate("line").issue("by-certificate")
    both, chain, key, word = (tmp_path / name for name in ("both", "chain", "key", "word"))
    both.write_bytes(device.chain + device.key)
    chain.write_bytes(device.chain)
    key.write_bytes(sealed(device.key, " pass word"))
    word.write_text(" pass word\n")
    apart = ("--cert", chain, "--cert-key", key)
    for options, stdin, variables in (
        (("--cert", both), "", {}),
        ((*apart, "--cert-key-password-file", word), "", {}),
        ((*apart, "--cert-key-password-file", "-"), " pass word\n", {}),
        (
            (*apart, "--registration-id", "By-Certificate"),
            "",
            {VARIABLE: " pass word"},
        ),
    ):
        done = run("provision", *service.to_reach, *options, stdin=stdin, **variables)
        assert done.returncode == 0, done.stderr
        assert "by-certificate" in done.stdout
        assert "pass word" not in done.stdout + done.stderr


def test_the_other_transport(service: Service) -> None:
    port = str(service.place["mqtts_port"])
    transport = ("--port", port, "--transport", "mqtts")
    done = run("provision", *service.to_reach, *MY_DEVICE, *transport, MQTTWS_KEY=KEY)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ["/", "/$iothub/websocket?iothub-no-client-cert=true"])
def test_another_path(service: Service, path: str) -> None:
    done = run("provision", *service.to_reach, *MY_DEVICE, "--path", path, MQTTWS_KEY=KEY)
    assert done.returncode == 0, done.stderr


def test_a_payload_from_a_file(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "payload.json"
    file.write_text('{"modelId": "dtmi:example:a;1"}')
    done = run(
        *("provision", *service.to_reach, *MY_DEVICE, "--payload", str(file), "--trace"),
        MQTTWS_KEY=KEY,
    )
    assert done.returncode == 0, done.stderr
    body = '{"registrationId":"my-device","payload":{"modelId":"dtmi:example:a;1"}}'
    assert f"({len(body)} bytes)" in done.stderr


def test_the_result_as_json(service: Service) -> None:
    done = run("provision", *service.to_reach, *MY_DEVICE, "--json", MQTTWS_KEY=KEY)
    assert done.returncode == 0
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["status"] == "assigned"
    assert found["assigned_hub"] == "local-hub.azure-devices.net"
    assert found["device_id"] == "device-1"
    assert found["substatus"]
    assert found["registration_id"] == "my-device"
    assert found["steps"][-1]["detail"] == "200 assigned"


def test_a_failure_as_json_has_its_class_its_hop_and_the_steps_so_far(service: Service) -> None:
    wrong = ("--id-scope", "0ne00WRONG")
    done = run("provision", *service.to_reach, *MY_DEVICE, *wrong, "--json", MQTTWS_KEY=KEY)
    assert done.returncode == 18
    found = json.loads(done.stdout)
    assert found["status"] == "error"
    assert found["error"] == "ConnectRefused"
    assert "wrong id scope" in found["hint"]
    assert found["hop"] == "connect"
    assert found["facts"] == {"return_code": 3}
    assert found["message"] in done.stderr
    # CONNACK 3 may also mean that the service is unavailable: it is tried three times.
    assert [step["hop"] for step in found["steps"]] == (
        3 * ["name", "tcp", "tls", "upgrade", "connect"]
    )
    assert found["steps"][-1]["outcome"] == "ConnectRefused"


def test_a_command_line_that_cannot_be_read_is_json_too() -> None:
    done = run("provision", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["status"] == "error"


def test_the_trace_shows_both_directions_and_the_result_alone_is_on_stdout(
    service: Service,
) -> None:
    done = run("provision", *service.to_reach, *MY_DEVICE, "--trace", MQTTWS_KEY=KEY)
    lines = done.stderr.splitlines()
    for beginning in (
        "> Connect(client_id='my-device'",
        "< ConnAck(",
        "> Subscribe(",
        "< SubAck(",
        "> Publish qos=1 packet_id=",
        "< PubAck(",
        "< Publish qos=1 packet_id=",
        "> Disconnect(",
    ):
        assert any(line.startswith(beginning) for line in lines), beginning
    assert any(" register " in line for line in lines), "among the steps"
    assert "SharedAccessSignature" not in done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_steps_can_be_asked_for_and_be_left_out(service: Service) -> None:
    command = ("provision", *service.to_reach, *MY_DEVICE)
    assert " upgrade " in run(*command, "--steps", MQTTWS_KEY=KEY).stderr
    trace = run(*command, "--trace", "--no-steps", MQTTWS_KEY=KEY).stderr
    assert {line[0] for line in trace.splitlines()} == {">", "<"}


def in_terminal(*arguments: str, **variables: str) -> tuple[int, str]:
    """Run the command in a terminal of its own; return its exit code and what is seen there."""
    pid, terminal = pty.fork()
    if pid == 0:  # the child, whose standard streams are the terminal
        os.execve(sys.executable, [*MQTTWS, *arguments], environment(**variables))
    seen = b""
    with open(terminal, "rb", buffering=0) as opened:
        while True:
            try:
                data = opened.read(4096)
            except OSError:  # Linux's way to say that the other side has closed
                break
            if not data:
                break
            seen += data
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_a_terminal_sees_the_steps(service: Service) -> None:
    code, seen = in_terminal("provision", *service.to_reach, *MY_DEVICE, MQTTWS_KEY=KEY)
    assert code == 0
    assert "CONNACK 0, accepted" in seen
    assert "device-1" in seen


def test_text_from_a_peer_is_not_read_as_markup(dps_state: Path) -> None:
    busy = b"HTTP/1.1 503 [red]busy[/red] [link=x]\r\nContent-Length: 0\r\n\r\n"
    certificates = prepare_certificates(dps_state)
    with peer(lambda _: busy, certificates.context()) as port:
        code, seen = in_terminal(
            *("provision", "--id-scope", "s", "--registration-id", "d"),
            *("--ca", str(certificates.ca_file)),
            *("--host", "127.0.0.1", "--port", str(port), "--timeout", "2"),
            MQTTWS_KEY=KEY,
            NO_COLOR="1",
        )
    assert code == 17
    assert "HTTP 503 [red]busy[/red] [link=x]" in seen
