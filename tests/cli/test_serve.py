"""``mqttws serve``: the local DPS as a program."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest

from mqttws.cli.serve_place import example_key
from mqttws.errors import StoreDamaged, StoreFull
from tests.disks import fill, small_disk

from .shell import (
    DEADLINE,
    KEY,
    Running,
    environment,
    individual,
    only_line,
    run,
    run_process,
    secret_file,
    serving,
)

FREE = ("--wss-port", "0", "--mqtts-port", "0")


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def paste(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line as a user who pastes it into a shell, in some folder."""
    return subprocess.run(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd="/",
        env=environment(),
        check=False,
    )


def test_the_example_command_line_works_as_it_is_printed(tmp_path: Path) -> None:
    state = tmp_path / "a folder's $name"
    running = Running("serve", *FREE, "--state", state, "--retry-after", "0")
    try:
        command = running.wait_for("--registration-id")
        done = paste(command)
        assert done.returncode == 0, done.stderr
        assert "example-device" in done.stdout
        running.wait_for("poll 200 assigned")
    finally:
        code = running.end()
    assert code == 0
    printed = "\n".join(running.stdout)
    assert str(state / "ca.pem") in printed
    assert re.search(r"wss://127\.0\.0\.1:[1-9]\d*/", printed)
    assert re.search(r"mqtts://127\.0\.0\.1:[1-9]\d*$", printed, re.MULTILINE)
    key_file = state / "example-device.key"
    assert str(key_file) in printed
    assert mode(key_file) == 0o600
    assert mode(state) == 0o700
    assert key_file.read_text().strip() not in printed + "".join(running.stderr)


def test_the_example_key_and_the_ca_are_reused(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        with serving(tmp_path) as service:
            assert paste(service.place["example"]["command"]).returncode == 0
        found.append([(tmp_path / name).read_text() for name in ("ca.pem", "example-device.key")])
        (tmp_path / "example-device.key").chmod(0o644)
    assert found[0] == found[1]
    with serving(tmp_path):
        assert mode(tmp_path / "example-device.key") == 0o600


def test_json_tells_a_script_where_it_is(tmp_path: Path) -> None:
    with serving(tmp_path, [individual("a")]) as service:
        place = service.place
        assert place["host"] == "127.0.0.1"
        for port in (place["wss_port"], place["mqtts_port"]):
            socket.create_connection((place["host"], port), timeout=DEADLINE).close()
        assert place["ca_file"] == str(tmp_path / "ca.pem")
        assert place["id_scope"] == "0ne00LOCAL"
        assert place["example"] is None
    assert len(service.running.stdout) == 1


def test_options_reach_the_service(tmp_path: Path) -> None:
    options = ("--id-scope", "0ne00OTHER", "--hub", "my-hub.example", "--host", "localhost")
    with serving(tmp_path, None, *options) as service:
        assert service.place["id_scope"] == "0ne00OTHER"
        done = paste(service.place["example"]["command"] + " --json")
        assert json.loads(done.stdout)["assigned_hub"] == "my-hub.example", done.stderr


def test_throttles_reach_the_service(tmp_path: Path) -> None:
    options = ("--registers-per-minute", "1", "--polls-per-10s", "5")
    with serving(tmp_path, [individual("a"), individual("b")], *options) as service:
        common = ("provision", *service.to_reach)
        assert run(*common, "--registration-id", "a", MQTTWS_KEY=KEY).returncode == 0
        throttled = (*common, "--registration-id", "b", "--timeout", "5")
        done = run(*throttled, MQTTWS_KEY=KEY)
        assert done.returncode == 20
        assert "429001" in service.running.wait_for("b: register 429")
        assert "give it more time" in done.stderr


def test_an_admin_api_for_others_demands_its_token(tmp_path: Path) -> None:
    token = secret_file(tmp_path / "token", "\n")
    everywhere = ("--admin-port", "0", "--admin-host", "0.0.0.0")
    said = refused(*FREE, "--state", tmp_path, *everywhere)
    assert "needs a token" in said
    assert "--admin-token-file" in said
    options = (*everywhere, "--admin-token-file", str(token))
    assert "it is empty" in refused(*FREE, "--state", tmp_path, *options, code=41)
    token.write_text("open\nsesame\n")
    assert "one line" in refused(*FREE, "--state", tmp_path, *options, code=41)
    token.write_text("open sesame\n")
    with serving(tmp_path, None, *options) as service:
        assert service.place["admin"].startswith("https://127.0.0.1:")
        asked = ("enroll", "--admin", service.place["admin"], "--ca", service.place["ca_file"])
        assert run(*asked, "list").returncode == 41
        done = run(*asked, "--token-file", token, "list")
        assert (done.returncode, done.stderr) == (0, "")
        assert "example-device" in done.stdout
    assert "sesame" not in "\n".join(service.running.stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(tmp_path: Path, number: int) -> None:
    running = Running("serve", *FREE, "--state", tmp_path, "--json")
    running.wait_for("serving")
    assert running.end(number) == 0
    assert "the service ends" in only_line("\n".join(running.stderr))


def test_each_event_is_one_line_whatever_a_client_sends(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        port = service.place["wss_port"]
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nthis is \x1b[31m not TLS\r\n\r\n")
            service.running.wait_for("tls")
        bad = ("--registration-id", "d", "--id-scope", "0ne00\x7e[red]")
        done = run("provision", *service.to_reach, *bad, MQTTWS_KEY="A" * 24)
        assert done.returncode == 18
        assert "[red]" in service.running.wait_for("unknown id scope")
    for line in service.running.stderr:
        assert re.match(r"\d\d:\d\d:\d\d \S", line), line


def refused(*arguments: str | Path, code: int = 2) -> str:
    done = run_process("serve", *arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    return only_line(done.stderr)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused("--wss-port", port, "--mqtts-port", "0", "--state", tmp_path, code=1)
    assert f"cannot listen on 127.0.0.1 port {port}" in line
    assert "choose another port" in line


def test_a_host_that_is_not_here(tmp_path: Path) -> None:
    line = refused(*FREE, "--state", tmp_path, "--host", "host.invalid", code=41)
    assert "cannot listen on host.invalid" in line


def test_a_state_folder_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below"):
        line = refused(*FREE, "--state", folder, code=41)
        assert "the state folder cannot be used" in line
        assert "--state" in line


def test_an_example_key_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "example-device.key").write_text("not a key, and yet not to be shown")
    line = refused(*FREE, "--state", tmp_path, code=41)
    assert "example-device.key: the key is not base64" in line
    assert "not to be shown" not in line


def test_a_key_is_written_whole_or_not_at_all_where_the_disk_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        filler = fill(disk)
        with pytest.raises(StoreFull, match="No space left") as full:
            example_key(disk / "example-device.key")
        assert "--state" in str(full.value.hint)
        assert os.listdir(disk) == ["filler"]
        filler.unlink()
        key = example_key(disk / "example-device.key")
        assert len(b64decode(key, validate=True)) == 64
        assert example_key(disk / "example-device.key") == key


def test_an_empty_key_file_is_named_with_its_remedy(tmp_path: Path) -> None:
    """An earlier version left one on a full disk."""
    (tmp_path / "example-device.key").touch()
    with pytest.raises(StoreDamaged, match=r"example-device\.key: a key of 0 bytes") as damaged:
        example_key(tmp_path / "example-device.key")
    assert "remove the file" in str(damaged.value.hint)


def serves(*words: object) -> None:
    """Run the service until it serves, and end it."""
    running = Running("serve", *words, "--json")
    try:
        running.wait_for("serving")
    finally:
        running.end()


def test_a_first_start_on_a_full_disk_leaves_nothing_that_stops_the_next(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        words = (*FREE, "--state", disk, "--records", disk / "dps.sqlite")
        filler = fill(disk)
        line = refused(*words, code=41)
        assert "No space left" in line or "the disk is full" in line
        assert not (disk / "example-device.key").exists()
        filler.unlink()
        serves(*words)
        # Files are there, the key is not, and there is no room for it.
        (disk / "example-device.key").unlink()
        filler = fill(disk)
        refused(*words, code=41)
        assert not (disk / "example-device.key").exists()
        filler.unlink()
        serves(*words)


def test_the_default_state_folder_is_the_users(tmp_path: Path) -> None:
    running = Running("serve", *FREE, "--json", XDG_STATE_HOME=str(tmp_path))
    try:
        place = json.loads(running.wait_for("serving"))
    finally:
        running.end()
    assert place["ca_file"] == os.path.join(tmp_path, "mqttws", "ca.pem")
