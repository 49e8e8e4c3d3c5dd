"""Exit codes and JSON errors: the same for every command at the same failure."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mqttws import Cause, ConnectRefused, Hop, MqttwsError, Unreachable, UsageError
from mqttws.local.certificates import prepare_certificates

from .shell import Service, run, serving

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
WRONG = "/////////////////////w=="
MEMBERS = {
    *("schema", "status", "error", "message", "hint", "hop", "cause", "party", "retryable"),
    *("exit_code", "facts", "steps"),
}


def test_exit_codes_are_fixed() -> None:
    assert {hop.value: hop.exit_code for hop in Hop} == {
        "proxy-name": 10,
        "proxy-tcp": 11,
        "proxy-tls": 12,
        "name": 13,
        "tcp": 14,
        "proxy": 15,
        "tls": 16,
        "upgrade": 17,
        "connect": 18,
        "subscribe": 19,
        "register": 20,
        "poll": 21,
    }
    assert MqttwsError().exit_code == 1
    assert MqttwsError(retryable=False).exit_code == 41
    assert UsageError().exit_code == 2
    assert Unreachable().exit_code == 14
    assert Unreachable(cause=Cause.WRONG_KEY).exit_code == 54
    assert ConnectRefused(return_code=3).exit_code == 18
    assert ConnectRefused(return_code=5).exit_code == 58


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    records = [
        {
            "registrationId": "my-device",
            "attestation": {
                "type": "symmetricKey",
                "symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY},
            },
        }
    ]
    with serving(tmp_path_factory.mktemp("exits"), records) as service:
        yield service


@contextmanager
def closed_port(tmp_path: Path) -> Iterator[tuple[int, dict[str, str], tuple[str, ...]]]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    yield port, {}, ()


@contextmanager
def silent_proxy(tmp_path: Path) -> Iterator[tuple[int, dict[str, str], tuple[str, ...]]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield 443, {}, ("--proxy", url)


def commands(
    tmp_path: Path, port: int, key: str, options: tuple[str, ...], scope: str
) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return each command's words and variables for the same way."""
    fleet = tmp_path / "fleet.csv"
    fleet.write_text(f"registration_id,key\nmy-device,{key}\n")
    (tmp_path / "fleet.csv.results.csv").unlink(missing_ok=True)
    device = ["--id-scope", scope, "--registration-id", "my-device"]
    there = ["--host", "127.0.0.1", "--port", str(port)]
    variables = {"MQTTWS_KEY": key}
    url = f"wss://127.0.0.1:{port}/$iothub/websocket"
    return {
        "provision": ([*device, *there, "--timeout", "3", *options], variables),
        "provision-fleet": (
            [str(fleet), "--id-scope", scope, *there, "--timeout", "3", *options],
            {},
        ),
        "doctor": (
            ["127.0.0.1", "--port", str(port), *device, "--timeout", "3", *options],
            variables,
        ),
        "publish": ([url, "t", "--payload", "p", "--timeout", "3", *options], {}),
        "subscribe": ([url, "t", "--timeout", "3", *options], {}),
        "device run": ([*device, *there, *options], variables),
    }


def check(words: dict[str, tuple[list[str], dict[str, str]]], hop: Hop, *, never: bool) -> None:
    for name, (arguments, variables) in words.items():
        done = run(*name.split(), *arguments, "--json", **variables)
        found = json.loads(done.stdout.splitlines()[0])
        assert found.keys() >= MEMBERS, name
        assert (found["schema"], found["status"], found["hop"]) == (1, "error", hop.value), name
        assert done.returncode == hop.exit_code + 40 * never, (name, done.stdout)
        assert found["exit_code"] == done.returncode
        assert found["retryable"] is not never


@pytest.mark.slow
def test_a_closed_port_is_the_same_for_every_command(tmp_path: Path) -> None:
    with closed_port(tmp_path) as (port, _, options):
        check(commands(tmp_path, port, KEY, options, "0ne00LOCAL"), Hop.TCP, never=False)


@pytest.mark.slow
def test_a_silent_proxy_is_the_same_for_every_command(tmp_path: Path) -> None:
    with silent_proxy(tmp_path) as (port, _, options):
        words = commands(tmp_path, port, KEY, options, "0ne00LOCAL")
        check(words, Hop.PROXY, never=False)


@pytest.mark.slow
def test_a_wrong_certificate_is_the_same_for_every_command(
    tmp_path: Path, service: Service
) -> None:
    other = prepare_certificates(tmp_path / "other").ca_file
    words = commands(tmp_path, service.place["wss_port"], KEY, ("--ca", str(other)), "0ne00LOCAL")
    check(words, Hop.TLS, never=True)


@pytest.mark.slow
def test_a_wrong_key_is_the_same_for_every_command(tmp_path: Path, service: Service) -> None:
    trust = ("--ca", str(service.place["ca_file"]))
    words = commands(tmp_path, service.place["wss_port"], WRONG, trust, "0ne00LOCAL")
    del words["publish"], words["subscribe"]  # they have no DPS: their login is CONNECT's
    check(words, Hop.REGISTER, never=True)


def test_commands_that_ask_a_service_over_http_have_the_codes_of_the_hops_too(
    tmp_path: Path, service: Service
) -> None:
    with closed_port(tmp_path) as (port, _, _options):
        closed = f"127.0.0.1:{port}"
    served = f"127.0.0.1:{service.place['wss_port']}"
    for place, hop, never in (
        (closed, Hop.TCP, False),
        ("no-such-host.invalid", Hop.NAME, False),
        (served, Hop.TLS, True),
    ):
        hub = f"HostName={place};SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}"
        code = hop.exit_code + 40 * never
        done = run("hub", "devices", MQTTWS_HUB_CONNECTION=hub)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        for words in (("enroll", "--admin", f"https://{place}", "list"),
                      ("fault", "--admin", f"https://{place}", "list")):  # fmt: skip
            done = run(*words)
            assert (done.returncode, done.stdout) == (code, ""), done.stderr
            assert f"{hop.value}: " in done.stderr


@pytest.mark.slow
def test_publish_with_a_wrong_login_is_refused_at_connect(tmp_path: Path, service: Service) -> None:
    """The way that a wrong key takes without DPS: the code is that of its hop all the same."""
    trust = ("--ca", str(service.place["ca_file"]), "--username", "my-device")
    words, _ = commands(tmp_path, service.place["wss_port"], WRONG, trust, "0ne00LOCAL")["publish"]
    check({"publish": (words, {"MQTTWS_PASSWORD": WRONG})}, Hop.CONNECT, never=True)


@pytest.mark.parametrize("command", ["provision", "provision-fleet", "doctor", "publish"])
def test_a_wrong_command_line_has_the_same_members(command: str) -> None:
    done = run(command, "--json")
    found = json.loads(done.stdout)
    assert found.keys() == MEMBERS
    assert (done.returncode, found["exit_code"], found["cause"]) == (2, 2, "argument")
