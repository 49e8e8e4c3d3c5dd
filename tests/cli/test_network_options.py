"""Options about the network: logins from files, TLS capped, reports, text on a terminal."""

import http.server
import threading
from pathlib import Path

import pytest

from mqttws import Hop
from mqttws.cli.admin import AdminClient
from mqttws.errors import MqttwsError, UsageError

from ..ports import free_port
from . import test_doctor, test_publish_subscribe
from .shell import Service, run
from .test_doctor import to_reach
from .test_provision import in_terminal
from .test_publish_subscribe import Server, keep

server = test_publish_subscribe.server
service = test_doctor.service

LOGIN = "s3cretuser:s3cretword"


def test_a_proxys_login_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "proxy"
    file.write_text(f"http://{LOGIN}@127.0.0.1:{free_port()}\n")
    file.chmod(0o600)
    done = run("doctor", "dps.test", "--proxy-file", str(file))
    assert done.returncode == Hop.PROXY_TCP.exit_code
    assert "with a login" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    assert "warning" not in done.stderr


def test_a_proxy_file_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "proxy"
    file.write_text(f"http://{LOGIN}@127.0.0.1:{free_port()}")
    file.chmod(0o644)
    done = run("doctor", "dps.test", "--proxy-file", str(file))
    assert f"chmod 600 {file}" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize("text", ["", "http://a:1\nhttp://b:2\n"])
def test_a_proxy_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "proxy"
    file.write_text(text)
    done = run("provision", "--id-scope", "s", "--registration-id", "d", "--proxy-file", str(file))
    assert done.returncode == 41
    assert "one line" in done.stderr


def test_a_url_in_a_proxy_file_that_cannot_be_used_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "proxy"
    file.write_text("http://s3cretuser:s3cret/word@127.0.0.1:3128\n")
    file.chmod(0o600)
    done = run("doctor", "dps.test", "--proxy-file", str(file))
    assert done.returncode == 41
    assert f"(in {file})" in done.stderr
    assert "%2F" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_proxy_and_proxy_file_exclude_each_other(tmp_path: Path) -> None:
    done = run("doctor", "h", "--proxy", "none", "--proxy-file", str(tmp_path / "x"))
    assert done.returncode == 2


def test_tls_can_be_capped(service: Service) -> None:
    capped = run("doctor", *to_reach(service), "--tls-max", "1.2")
    assert capped.returncode == 0, capped.stdout
    assert "TLSv1.2" in capped.stdout
    assert "TLSv1.3" in run("doctor", *to_reach(service)).stdout


def test_a_report_is_written_for_the_team(tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    done = run("doctor", "127.0.0.1", "--port", str(free_port()), "--report", str(file))
    assert done.returncode == Hop.TCP.exit_code
    text = file.read_text()
    for part in ("Connection report for wss://127.0.0.1", "What was tried", "refused", "TLS 1.2"):
        assert part in text
    missing = run("doctor", "127.0.0.1", "--port", "1", "--report", str(tmp_path / "no" / "x"))
    assert missing.returncode == 41
    assert "cannot be written" in missing.stderr


NASTY = "\x1b]0;owned\x07\x1b[2J\x1b[31m\nforged/topic line"


def test_a_payload_cannot_write_on_a_terminal(server: Server) -> None:
    keep(server, "t/nasty", NASTY)
    options = ("--count", "1", "--verbose", "--timeout", "20")
    code, seen = in_terminal("subscribe", server.ws, "t/nasty", *options, NO_COLOR="1")
    assert code == 0
    assert "\x1b]0;" not in seen
    assert "\x07" not in seen
    assert "t/nasty \\x1b]0;owned\\x07" in seen
    piped = run("subscribe", server.ws, "t/nasty", "--count", "1", "--timeout", "20")
    assert NASTY in piped.stdout


def test_the_admin_client_follows_no_redirect_with_its_token() -> None:
    seen: list[str] = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(302)
            self.send_header(
                "Location", f"http://127.0.0.1:{self.server.server_port}/other\x1b[31m"
            )
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as admin:
        threading.Thread(target=admin.serve_forever, daemon=True).start()
        client = AdminClient(f"http://127.0.0.1:{admin.server_port}", "s3cret")
        with pytest.raises(MqttwsError, match="not followed"):
            client.ask("GET", "/x")
        admin.shutdown()
    assert seen == ["Bearer s3cret"]


@pytest.mark.parametrize("url", ["http://[127.0.0.1", "http://h:70000", "http://h:0", "h:80", ""])
def test_an_admin_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="allowed: one like"):
        AdminClient(url)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"<html>another web server</html>", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": 1e999}', "not JSON"),
    ],
    ids=["html", "deep", "infinite"],
)
def test_another_server_than_the_admin_api_is_told_in_one_line(answer: bytes, told: str) -> None:
    class Another(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Another) as admin:
        threading.Thread(target=admin.serve_forever, daemon=True).start()
        with pytest.raises(MqttwsError, match=told) as caught:
            AdminClient(f"http://127.0.0.1:{admin.server_port}").ask("GET", "/x")
        admin.shutdown()
    assert "\n" not in str(caught.value)
