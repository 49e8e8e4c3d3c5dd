"""``mqttws serve --with-hub`` and ``mqttws hub``: the service's side in a shell."""

import contextlib
import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mqttws
from mqttws import Hop
from mqttws.cli.hub_service import HubService
from mqttws.hub.topics import (
    DESIRED_FILTER,
    METHODS_FILTER,
    devicebound_filter,
    method_response_topic,
    parse_devicebound_topic,
    parse_method_topic,
    telemetry_topic,
)
from mqttws.local.certificates import prepare_certificates

from .shell import KEY, Running, individual, only_line, run

FREE = ("--wss-port", "0", "--mqtts-port", "0")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A running service with a hub, and an enrolled device: its state folder and its place."""
    folder = tmp_path_factory.mktemp("hub")
    enrollments = folder / "enrollments.json"
    twin = {"properties": {"desired": {"interval": 5}}}
    record = individual("enrolled") | {"initialTwin": twin}
    enrollments.write_text(json.dumps([record]))
    running = Running(
        "serve", *FREE, "--with-hub", "--json", "--retry-after", "0", "--state", folder / "state",
        "--enrollments", enrollments, "--telemetry", folder / "telemetry.jsonl",
    )  # fmt: skip
    try:
        place = json.loads(running.wait_for('"serving"'))
        yield folder, place
    finally:
        assert running.end() == 0
    log = "".join(running.stderr)
    for text in place["hub"]["connection_strings"].values():
        assert text.rpartition("SharedAccessKey=")[2] not in log
    assert "Traceback" not in log, log[log.index("Traceback") - 300 :][:4000].replace("\\n", "\n")


def hub(state: Any, *arguments: str) -> Any:
    folder, _ = state
    file = folder / "state" / "hub-connection.json"
    return run("hub", "--connection-file", file, *arguments)


def test_the_connection_file_is_the_owners_alone(state: Any) -> None:
    folder, place = state
    for name in ("hub-connection.json", "hub-policies.json"):
        assert stat.S_IMODE((folder / "state" / name).stat().st_mode) == 0o600
    assert place["hub"]["names"] == ["local-hub.azure-devices.net"]


def test_a_device_goes_from_the_enrollment_to_the_hub_and_the_shell_is_its_service(
    state: Any,
) -> None:
    folder, place = state
    tls = mqttws.TlsConfig(ca=place["ca_file"], only_ca=True)
    credential = mqttws.SymmetricKey("enrolled", KEY)
    where = {"host": place["host"], "port": place["wss_port"], "tls": tls}
    assignment = mqttws.provision(place["id_scope"], credential, **where)
    found = json.loads(hub(state, "twin", "enrolled").stdout)
    assert found["properties"]["desired"]["interval"] == 5
    with assignment.client(**where) as device:
        for topic_filter in (DESIRED_FILTER, METHODS_FILTER, devicebound_filter("enrolled")):
            device.subscribe(topic_filter, qos=1)
        messages = device.messages()
        device.publish(telemetry_topic("enrolled", {"a": "b"}), b'{"t":1}', qos=1)
        seen = hub(state, "watch", "--after", "0", "--count", "1", "--device", "enrolled")
        assert json.loads(only_line(seen.stdout))["body"] == '{"t":1}'
        assert hub(state, "twin", "enrolled", "--desired", '{"interval":9}').returncode == 0
        assert json.loads(next(messages).payload)["interval"] == 9
        words = ("--property", "room=a b", "--property", "roomTemp=1", "--property", "größe=2")
        words += ("--content-type", "text/plain", "--content-encoding", "utf-8")
        words += ("--correlation-id", "c 1", "--user-id", "u")
        sent = hub(state, "send", "enrolled", "hello", *words, "--ack", "full")
        assert sent.returncode == 0
        message = next(messages)
        assert message.payload == b"hello"
        found = parse_devicebound_topic(message.topic)
        assert found is not None
        assert {"room": "a b", "roomTemp": "1", "größe": "2"}.items() <= found[1].items()
        system = {"$.ct": "text/plain", "$.ce": "utf-8", "$.cid": "c 1", "$.uid": "u"}
        assert system.items() <= found[1].items()
        answers: list[Any] = []
        caller = threading.Thread(
            target=lambda: answers.append(
                run("hub", "--connection-file", place["hub"]["connection_file"],
                    "invoke", "enrolled", "reboot", '{"delay":5}')
            )
        )  # fmt: skip
        caller.start()
        call = parse_method_topic(next(messages).topic)
        assert call is not None
        device.publish(method_response_topic(200, call.request_id), b'{"ok":true}', qos=1)
        caller.join()
    answer = json.loads(answers[0].stdout)
    assert (answer["status"], answer["payload"]) == (200, {"ok": True})
    lines = (folder / "telemetry.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["properties"] == {"a": "b"}


def test_the_hub_fails_and_throttles_on_order(state: Any) -> None:
    _, place = state
    tls = mqttws.TlsConfig(ca=place["ca_file"], only_ca=True)
    where = {"host": place["host"], "port": place["wss_port"], "tls": tls}
    assignment = mqttws.provision(place["id_scope"], mqttws.SymmetricKey("enrolled", KEY), **where)
    order = ("refuse", "--device", "enrolled", "--return-code", "5", "--skip", "1", "--seed", "7")
    assert hub(state, "fault", *order).returncode == 0
    (listed,) = [json.loads(line) for line in hub(state, "fault", "list").stdout.splitlines()]
    told = {name: listed[name] for name in ("kind", "return_code", "skip", "seed")}
    assert told == {"kind": "refuse", "return_code": 5, "skip": 1, "seed": 7}
    with assignment.client(**where):
        pass  # the one that passes
    with pytest.raises(mqttws.ConnectRefused) as refused:
        assignment.client(**where).connect()
    assert refused.value.return_code == 5
    assert hub(state, "fault", "list").stdout == ""
    for arguments, told in (
        (("drop", "--status", "429"), "'drop' has no 'status'"),
        (("answer", "--operation", "telemetry"), "allowed: twin-get, twin-patch"),
    ):
        wrong = hub(state, "fault", *arguments)
        assert (wrong.returncode, told in wrong.stderr) == (2, True), wrong.stderr
    hub(state, "fault", "drop", "--times", "0")
    assert hub(state, "fault", "none").returncode == 0
    limits = json.loads(hub(state, "throttle", "--connects", "0.01").stdout)
    assert (limits["connects"], limits["telemetry"]) == (0.01, None)
    codes = []
    for _ in range(2):
        try:
            with assignment.client(**where):
                codes.append(0)
        except mqttws.ConnectRefused as error:
            codes.append(error.return_code)
    assert codes[-1] == 3
    assert json.loads(hub(state, "throttle").stdout)["connects"] is None
    with assignment.client(**where):
        pass


def test_devices_are_created_listed_and_deleted(state: Any) -> None:
    made = hub(state, "create-device", "made")
    assert made.returncode == 0, made.stderr
    assert len(only_line(made.stdout)) > 40
    again = hub(state, "create-device", "made")
    assert again.returncode != 0
    assert "409" in only_line(again.stderr)
    module = hub(state, "create-device", "made", "--module", "mod")
    assert module.returncode == 0
    listed = hub(state, "devices", "--query", "SELECT * FROM devices WHERE deviceId = 'made'")
    assert json.loads(only_line(listed.stdout))["deviceId"] == "made"
    assert made.stdout.strip() not in listed.stdout
    assert hub(state, "create-device", "made", "--delete").returncode == 0
    assert "404" in hub(state, "twin", "made").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("invoke", "nobody", "m"), 41, "404"),
        (("invoke", "nobody", "m", "{"), 2, "not JSON"),
        (("twin", "nobody", "--desired", "["), 2, "not JSON"),
        (("send", "nobody", "x"), 41, "404"),
        (("send", "nobody", "x", "--property", "a"), 2, "NAME=VALUE"),
        (("send", "d", "x", "--property", "a=\udcff"), 2, "--property: text with a lone surrogate"),
        (("send", "d\udcff", "x"), 2, "device: text with a lone surrogate"),
        (("send", "d", "x", "--message-id", "é"), 2, "--message-id"),
        (("devices", "--query", "nonsense"), 41, "400"),
        (("watch", "--timeout", "0.5"), 1, "no further event within 0.5 s"),
        (("create-device", "a", "--certificate", "/nonexistent"), 41, "/nonexistent"),
    ],
)
def test_each_refusal_is_one_line(
    state: Any, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = hub(state, *arguments)
    assert done.returncode == code, done.stderr
    assert said in only_line(done.stderr)


def test_without_a_hub_the_way_to_one_is_said(tmp_path: Path) -> None:
    done = run("hub", "--connection-file", tmp_path / "none", "devices")
    assert done.returncode == 41
    assert "serve --with-hub" in only_line(done.stderr)
    closed = "HostName=127.0.0.1:1;SharedAccessKeyName=iothubowner;SharedAccessKey=" + KEY
    done = run("hub", "devices", MQTTWS_HUB_CONNECTION=closed)
    assert done.returncode == Hop.TCP.exit_code
    assert KEY not in only_line(done.stderr)
    done = run("hub", "devices", MQTTWS_HUB_CONNECTION="HostName=x;SharedAccessKey=secret")
    assert done.returncode == 2
    assert "secret" not in done.stderr


def test_a_hub_that_sends_no_answer_is_waited_for_no_longer_than_was_asked(tmp_path: Path) -> None:
    files = prepare_certificates(tmp_path)
    context = files.context()
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard = threading.Event()

        def listen() -> None:
            connection, _ = server.accept()
            with context.wrap_socket(connection, server_side=True):
                heard.wait(30)

        thread = threading.Thread(target=listen)
        thread.start()
        place = f"127.0.0.1:{server.getsockname()[1]}"
        text = f"HostName={place};SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}"
        words = ("--ca", files.ca_file, "watch", "--timeout", "1")
        done = run("hub", *words, MQTTWS_HUB_CONNECTION=text)
        heard.set()
        thread.join(30)
    assert done.returncode == 1
    assert f"the hub at {place} has sent no answer within 1 s" in only_line(done.stderr)


def test_empty_lines_do_not_put_off_the_end_of_a_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    service = HubService(f"HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}")
    now = 0.0

    def sent() -> Iterator[bytes]:
        nonlocal now
        for line in (b"\n", b'{"n": 1}\n', b"\n", b"\n", b"\n"):
            now += 15.0
            yield line

    monkeypatch.setattr(service, "_open", lambda *_: contextlib.nullcontext(sent()))
    monkeypatch.setattr("mqttws.cli.hub_service.time.monotonic", lambda: now)
    lines = service.lines("/messages/events", 20.0)
    assert next(lines) == {"n": 1}
    with pytest.raises(mqttws.RequestTimedOut, match="within 20 s"):
        next(lines)
    assert now == 60.0


def test_options_of_the_hub_need_the_hub(tmp_path: Path) -> None:
    done = run("serve", *FREE, "--state", tmp_path, "--telemetry", "x")
    assert done.returncode == 2
    assert "--with-hub" in only_line(done.stderr)
