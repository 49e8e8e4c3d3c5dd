"""``mqttws publish`` and ``mqttws subscribe`` as a shell sees them, with mosquitto between them."""

import asyncio
import base64
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mqttws.local.certificates import prepare_certificates

from ..net.rogue import Certificates
from ..peers.brokers import Mosquitto, server_pem
from .shell import (
    DEADLINE,
    KEY,
    MQTTWS,
    Running,
    environment,
    only_line,
    peer,
    run,
)


class Server:
    """A running mosquitto, and how the commands are told of it."""

    def __init__(self, folder: Path) -> None:
        certificates = Certificates(folder)
        self.program = Mosquitto(folder, server_pem(certificates))
        self.ca = certificates.ca_file
        self.ws = f"ws://127.0.0.1:{self.program.ws}/mqtt"
        self.mqtt = f"mqtt://127.0.0.1:{self.program.mqtt}"
        self.mqtts = f"mqtts://127.0.0.1:{self.program.mqtts}"

    def start(self) -> None:
        asyncio.run(self.program.start())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("mosquitto"))
    server.start()
    yield server
    server.program.kill()


def keep(server: Server, topic: str, payload: str) -> None:
    """Have the server keep a message."""
    message = ("--payload", payload, "--qos", "1", "--retain")
    done = run("publish", server.ws, topic, *message)
    assert done.returncode == 0, done.stderr


def retained(server: Server, topic: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Return a run of ``subscribe`` that ends with the message the server has kept."""
    return run("subscribe", server.ws, topic, "--count", "1", "--timeout", "20", *options)


def retained_bytes(server: Server, topic: str) -> bytes:
    """Return what ``subscribe`` prints of the message that the server has kept."""
    return subprocess.run(
        [*MQTTWS, "subscribe", server.ws, topic, "--count", "1", "--timeout", "20"],
        capture_output=True,
        env=environment(),
        timeout=DEADLINE,
        check=True,
    ).stdout


def subscribed(server: Server, *words: str) -> Running:
    """Return a ``subscribe`` whose subscription the server has confirmed."""
    running = Running("subscribe", server.ws, *words, "--trace")
    running.wait_for("< SubAck")
    return running


# Messages


@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_a_message_is_there_for_others_when_the_command_ends(server: Server, qos: str) -> None:
    topic = f"kept/{qos}"
    done = run("publish", server.ws, topic, "--payload", "21.5 °C", "--qos", qos, "--retain")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = retained(server, topic)
    assert (found.returncode, found.stdout, found.stderr) == (0, "21.5 °C\n", "")


def test_a_file_goes_out_byte_for_byte(server: Server, tmp_path: Path) -> None:
    content = bytes(range(256)) * 300
    (tmp_path / "image").write_bytes(content)
    done = run("publish", server.ws, "file", "--file", tmp_path / "image", "--retain", "--qos", "1")
    assert done.returncode == 0, done.stderr
    assert retained_bytes(server, "file") == content + b"\n"


def test_a_payload_that_is_no_text_goes_out_as_it_was_typed(server: Server) -> None:
    typed = os.fsdecode(b"\xff\xc3\xa9")
    keep(server, "raw", typed)
    assert retained_bytes(server, "raw") == b"\xff\xc3\xa9\n"


def test_standard_input_is_the_message_where_none_is_named(server: Server) -> None:
    done = run("publish", server.ws, "stdin", "--retain", "--qos", "1", stdin="two\nlines\n")
    assert done.returncode == 0, done.stderr
    assert retained(server, "stdin").stdout == "two\nlines\n\n"


def test_each_line_is_a_message_in_its_order(server: Server) -> None:
    count = 250
    reader = subscribed(server, "lines", "--count", str(count), "--qos", "1")
    text = "".join(f"line {number}\r\n" if number % 2 else "\n" for number in range(count - 1))
    done = run("publish", server.ws, "lines", "--lines", "--qos", "2", stdin=text + "the last")
    assert done.returncode == 0, done.stderr
    assert reader.process.wait(DEADLINE) == 0
    reader.end()
    sent = [f"line {number}" if number % 2 else "" for number in range(count - 1)]
    assert reader.stdout == [*sent, "the last"]


def test_an_empty_payload_clears_what_was_kept(server: Server) -> None:
    for payload in ("something", ""):
        done = run("publish", server.ws, "cleared", "--payload", payload, "--retain", "--qos", "1")
        assert done.returncode == 0, done.stderr
    found = run("subscribe", server.ws, "cleared", "--timeout", "0.3")
    assert (found.returncode, found.stdout) == (0, "")


def test_json_has_one_object_a_line_and_bytes_as_base64(server: Server) -> None:
    for topic, payload in (("json/text", "naïve"), ("json/bytes", "")):
        source = ["--payload", payload] if payload else ["--file", "-"]
        done = subprocess.run(
            [*MQTTWS, "publish", server.ws, topic, *source, "--retain", "--qos", "2"],
            input=b"\xff\x00",
            env=environment(),
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0
    found = run("subscribe", server.ws, "json/#", "--qos", "1", "--count", "2", "--json")
    assert found.returncode == 0, found.stderr
    objects = {member["topic"]: member for member in map(json.loads, found.stdout.splitlines())}
    common = {"qos": 1, "retain": True, "dup": False}
    assert objects == {
        "json/text": {"schema": 1, "topic": "json/text", **common, "payload": "naïve"},
        "json/bytes": {
            "schema": 1,
            "topic": "json/bytes",
            **common,
            "payload_base64": base64.b64encode(b"\xff\x00").decode(),
        },
    }


def test_verbose_puts_the_topic_beside_the_payload_on_one_line(server: Server) -> None:
    topic = "verbose/\u2028line"
    done = run("publish", server.ws, topic, "--payload", "p", "--retain")
    assert done.returncode == 0, done.stderr
    assert retained(server, "verbose/+", "--verbose").stdout == "verbose/\\u2028line p\n"


def test_several_filters_go_in_one_request(server: Server) -> None:
    for topic in ("several/a", "several/b"):
        assert run("publish", server.ws, topic, "--payload", topic, "--retain").returncode == 0
    found = run("subscribe", server.ws, "several/a", "several/b", "--count", "2", "--trace")
    assert sorted(found.stdout.splitlines()) == ["several/a", "several/b"]
    assert found.stderr.count("> Subscribe(") == 1


def test_what_was_not_printed_comes_again_in_a_kept_session(server: Server) -> None:
    session = ("--client-id", "kept-session", "--persistent", "--qos", "1")
    ended = run("subscribe", server.ws, "session", *session, "--timeout", "0.1")
    assert ended.returncode == 0, ended.stderr
    done = run("publish", server.ws, "session", "--lines", "--qos", "1", stdin="1\n2\n")
    assert done.returncode == 0, done.stderr
    for expected in ("1\n", "2\n"):
        found = run("subscribe", server.ws, "session", *session, "--count", "1")
        assert found.stdout == expected, found.stderr


def test_the_server_tells_the_will_of_a_command_that_was_killed(server: Server) -> None:
    watcher = subscribed(server, "will", "--count", "1")
    will = ("--will-topic", "will", "--will-payload", "lost", "--will-qos", "1")
    subscribed(server, "nothing", *will).end(signal.SIGKILL)
    assert watcher.process.wait(DEADLINE) == 0
    watcher.end()
    assert watcher.stdout == ["lost"]


def test_over_tls_and_over_plain_tcp_it_is_the_same(server: Server) -> None:
    trust = ("--ca", server.ca)
    done = run("publish", server.mqtts, "tls", "--payload", "p", "--qos", "2", "--retain", *trust)
    assert (done.returncode, done.stderr) == (0, "")
    found = run("subscribe", server.mqtt, "tls", "--count", "1", "--timeout", "20")
    assert (found.returncode, found.stdout) == (0, "p\n")


# Ends


def test_ctrl_c_leaves_cleanly(server: Server) -> None:
    running = subscribed(server, "interrupted")
    assert running.end(signal.SIGINT) == 130
    assert running.stderr[-1] == "> Disconnect()"
    assert not any("Traceback" in line for line in running.stderr)


def test_ctrl_c_while_lines_are_awaited_sends_what_came(server: Server) -> None:
    reader = subscribed(server, "typed", "--count", "1")
    with subprocess.Popen(
        [*MQTTWS, "publish", server.ws, "typed", "--lines", "--trace"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"typed\n")
        process.stdin.flush()
        assert reader.process.wait(DEADLINE) == 0
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 130
        assert process.stderr is not None
        assert process.stderr.read().endswith(b"> Disconnect()\n")
    reader.end()
    assert reader.stdout == ["typed"]


def test_a_reader_that_leaves_ends_it_quietly(server: Server) -> None:
    for topic in ("pipe/a", "pipe/b"):
        assert run("publish", server.ws, topic, "--payload", topic, "--retain").returncode == 0
    command = f"{' '.join(MQTTWS)} subscribe {server.ws} 'pipe/#' | head -n 0"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=environment(),
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_too_few_messages_within_the_time_are_a_failure(server: Server) -> None:
    found = run("subscribe", server.ws, "nobody", "--count", "3", "--timeout", "0.2", "--json")
    assert found.returncode == 1
    assert "0 of 3 messages came within 0.2 s" in only_line(found.stderr)
    assert json.loads(found.stdout)["error"] == "RequestTimedOut"


def test_a_lost_connection_is_told_and_renewed(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        reader = subscribed(server, "renewed", "--count", "1")
        server.program.kill()
        reader.wait_for("connecting again")
        server.start()
        reader.wait_for("connected again")
        done = run("publish", server.ws, "renewed", "--payload", "later", "--qos", "1")
        assert done.returncode == 0, done.stderr
        assert reader.process.wait(DEADLINE) == 0
        reader.end()
        assert reader.stdout == ["later"]
    finally:
        server.program.kill()


@pytest.mark.parametrize("command", ["publish", "subscribe"])
def test_the_exit_code_names_the_hop_that_failed(
    server: Server, tmp_path: Path, command: str
) -> None:
    message = ("--payload", "p") if command == "publish" else ()
    other = prepare_certificates(tmp_path).ca_file
    for url, options, code in (
        ("wss://host.invalid/mqtt", (), 13),
        ("mqtt://127.0.0.1:1", (), 14),
        (server.mqtts, ("--ca", other), 56),
        (server.mqtt.replace("mqtt:", "ws:"), (), 17),
    ):
        done = run(command, url, "topic", *message, *options)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert only_line(done.stderr).startswith("mqttws: ")


def test_a_wrong_password_is_the_hop_connect(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("guessed\n")
    login = ("--username", "someone", "--password-file", tmp_path / "password")
    with peer(lambda connect: b"\x20\x02\0\x04" if b"\0\x07guessed" in connect else b"") as port:
        done = run("publish", f"mqtt://127.0.0.1:{port}", "a", "--payload", "p", *login)
    assert done.returncode == 58
    assert "CONNACK 4" in done.stderr
    assert "guessed" not in done.stderr


# Bad input: nothing is sent


NOWHERE = "ws://127.0.0.1:9/mqtt"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("publish", NOWHERE, "a/#", "--payload", ""), "wildcard"),
        (("publish", NOWHERE, "a", "--payload", "b", "--file", "c"), "by itself"),
        (("publish", NOWHERE, "a", "--payload", "b", "--lines"), "by itself"),
        (("publish", NOWHERE, "a", "--file", ""), "a file's name"),
        (("publish", NOWHERE, "a", "--payload", "b", "--qos", "3"), "--qos"),
        (("publish", NOWHERE, "x" * 65536, "--payload", "b"), "65535"),
        (("publish", "http://127.0.0.1/", "a", "--payload", "b"), "scheme"),
        (("publish", NOWHERE, "a", "--username", "u", "--password-file", "-"), "standard input"),
        (("publish", NOWHERE, "a", "--payload", "", "--password-file", "f"), "--username"),
        (("publish", NOWHERE, "a", "--payload", "", "--will-payload", "w"), "--will-topic"),
        (("subscribe", NOWHERE), "FILTER"),
        (("subscribe", NOWHERE, "a/#/b"), "MQTT-4.7.1-2"),
        (("subscribe", NOWHERE, "a", "--persistent"), "--client-id"),
        (("subscribe", NOWHERE, "a", "--client-key", "k"), "--client-cert"),
        (("subscribe", NOWHERE, "a", "--password", "p"), "No such option"),
    ],
)
def test_bad_words_are_refused_before_anything_is_opened(words: tuple[str, ...], told: str) -> None:
    done = run(*words)
    assert done.returncode == 2, done.stderr
    assert told in only_line(done.stderr)


@pytest.mark.parametrize("command", ["publish", "subscribe"])
def test_a_login_in_the_url_is_refused_and_not_repeated(command: str) -> None:
    done = run(command, "wss://someone:secret-word@broker.example/mqtt", "a")
    assert done.returncode == 2
    assert "list of processes" in only_line(done.stderr)
    assert "secret-word" not in done.stderr + done.stdout


def test_a_password_in_the_clear_is_warned_of_in_a_line(server: Server) -> None:
    login = ("--username", "someone", "--payload", "p")
    done = run("publish", server.ws, "clear", *login, MQTTWS_PASSWORD=KEY)
    assert (done.returncode, done.stderr) == (0, "")  # nothing leaves this machine
    done = run("publish", "ws://host.invalid/mqtt", "clear", *login, MQTTWS_PASSWORD=KEY)
    line, _failure = done.stderr.splitlines()
    assert line.startswith("mqttws: warning: ")
    assert "in the clear" in line
    assert KEY not in line
