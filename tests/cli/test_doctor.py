"""``mqttws doctor``: what it prints, what it ends with, and what it never shows."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from mqttws import Hop
from mqttws.local.x509 import DeviceAuthority

from ..local import x509_world
from ..peers import programs
from ..peers.programs import USER, WORD
from ..ports import free_port
from .shell import KEY, Service, individual, run, serving

ROOT = DeviceAuthority.root()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    records = [individual("my-device"), x509_world.group("certified", ROOT)]
    with serving(tmp_path_factory.mktemp("state"), records) as service:
        yield service


def to_reach(service: Service) -> list[str]:
    """Return the doctor's words for what ``provision`` is told with options."""
    options = dict(zip(service.to_reach[::2], service.to_reach[1::2], strict=True))
    options.pop("--id-scope")
    host = options.pop("--host")
    return [host, *(str(word) for pair in options.items() for word in pair)]


def credentials(service: Service) -> list[str]:
    place = service.to_reach.index("--id-scope")
    return ["--id-scope", str(service.to_reach[place + 1]), "--registration-id", "my-device"]


def test_exit_codes_are_the_hops_and_do_not_change() -> None:
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


def test_an_open_way_is_printed_hop_by_hop(service: Service) -> None:
    done = run("doctor", *to_reach(service), *credentials(service), MQTTWS_KEY=KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    labels = [
        line.split("ms  ")[1].split()[0] for line in done.stdout.splitlines() if "ms  " in line
    ]
    for fact in ("issuer:", "chain:", "expires:", "status:", "clock "):
        assert fact in done.stdout
    assert labels[:7] == ["name", "TCP", "TLS", "upgrade", "CONNECT", "SUBSCRIBE", "register"]
    assert "the way is open" in done.stdout
    assert done.stderr == ""
    assert KEY not in done.stdout


def test_a_certificate_registers_the_device_too(service: Service, tmp_path: Path) -> None:
    device = ROOT.issue("by-certificate")
    chain, key = tmp_path / "chain", tmp_path / "key"
    chain.write_bytes(device.chain)
    key.write_bytes(device.key)
    scope = credentials(service)[:2]
    done = run("doctor", *to_reach(service), *scope, "--cert", chain, "--cert-key", key, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [step["hop"] for step in json.loads(done.stdout)["steps"]][-1] in ("register", "poll")
    assert device.key.decode().splitlines()[1] not in done.stdout


def test_a_failure_says_hop_party_and_advice(service: Service) -> None:
    done = run("doctor", "127.0.0.1", "--port", str(free_port()))
    assert done.returncode == Hop.TCP.exit_code
    for needed in ("failed (tcp)", "likely cause   the server", "also tried", "try ", "ask "):
        assert needed in done.stdout
    assert "or the network" not in done.stdout  # there is none between this host and itself


def test_json_is_one_object(service: Service) -> None:
    done = run("doctor", *to_reach(service), "--path", "/wrong", "--json")
    assert done.returncode == Hop.UPGRADE.exit_code + 40
    report = json.loads(done.stdout)
    assert list(report) == [
        *("schema", "status", "error", "message", "hint", "hop", "cause", "party", "retryable"),
        *("exit_code", "facts", "target", "also", "because", "telling", "advice", "requests"),
        *("sighting", "message_to_team", "warnings", "settings", "clock_skew_s", "steps"),
        "alternatives",
    ]
    first = report["steps"][0]
    assert list(first) == ["hop", "outcome", "detail", "started_ms", "took_ms", "facts"]
    assert [list(each) for each in report["requests"]] == [["party", "if", "text"]] * 2
    assert f":{service.place['wss_port']}" in report["sighting"]
    assert list(report["alternatives"][0]) == ["name", "works", "detail"]
    assert (report["status"], report["hop"], report["party"]) == ("error", "upgrade", "the server")
    assert report["steps"][-1]["facts"]["status"].startswith("404")
    assert any(other["works"] for other in report["alternatives"])


def test_a_proxys_login_is_refused_as_an_option_and_never_shown() -> None:
    for command in ("doctor", "provision"):
        words = (
            ["h.test"] if command == "doctor" else ["--id-scope", "0ne", "--registration-id", "a"]
        )
        done = run(command, *words, "--proxy", f"http://{USER}:{WORD}@p:1")
        assert done.returncode == 2
        assert "MQTTWS_PROXY" in done.stderr
        assert WORD not in done.stdout + done.stderr


def test_nothing_shows_a_proxys_login_with_all_logs_on(service: Service) -> None:
    with programs.squid(login=True) as squid:
        for password, code in ((WORD, 0), (f"x{WORD}", Hop.PROXY.exit_code + 40)):
            url = f"http://{USER}:{password}@127.0.0.1:{squid.port}"
            done = run(
                *("doctor", *to_reach(service), *credentials(service), "--debug"),
                *("--proxy", f"http://127.0.0.1:{squid.port}"),
                MQTTWS_KEY=KEY,
                MQTTWS_PROXY=url,
                https_proxy=url,
            )
            assert done.returncode == code, done.stdout + done.stderr
            shown = done.stdout + done.stderr
            encoded = b64encode(f"{USER}:{password}".encode()).decode()
            for secret in (USER, WORD, encoded, encoded[:16], KEY):
                assert secret not in shown


def test_provision_goes_through_the_proxy_it_is_told(service: Service, tmp_path: Path) -> None:
    with programs.tinyproxy() as proxy:
        done = run(
            *("provision", *service.to_reach, "--registration-id", "my-device"),
            *("--proxy", f"http://127.0.0.1:{proxy.port}", "--steps"),
            MQTTWS_KEY=KEY,
        )
        assert done.returncode == 0, done.stderr
        assert "CONNECT 127.0.0.1:" in proxy.log
        assert "proxy" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--id-scope", "0ne"],
        ["--registration-id", "a"],
        ["--key-file", "/dev/null"],
        ["--id-scope", "0ne", "--key-file", "/dev/null"],
        ["--cert", "/nonexistent.pem"],
        ["--cert", "/nonexistent.pem", "--key-file", "/nonexistent", "--id-scope", "0ne"],
        ["--id-scope", "0ne", "--cert", ""],
        ["--id-scope", "0ne", "--cert-key", "/nonexistent.pem"],
        ["--path", "no-slash"],
        ["--proxy", "ftp://x"],
        ["--port", "0"],
    ],
)
def test_what_cannot_be_right_is_a_usage_error(words: list[str]) -> None:
    done = run("doctor", "127.0.0.1", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("mqttws: ")


def test_what_cannot_be_right_is_json_too_where_that_is_asked_for() -> None:
    done = run("doctor", "127.0.0.1", "--proxy", "ftp://x", "--json")
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert (found["status"], found["error"], found["hop"]) == ("error", "UsageError", None)
