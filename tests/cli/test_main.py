"""The commands under one name: help, usage, exit codes, and life without the extra."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from mqttws import __version__
from mqttws.dps.faults import Kind
from mqttws.hub.service.faults import FaultKind
from mqttws.text import one_line

from .shell import (
    DEADLINE,
    KEY,
    MQTTWS,
    Running,
    environment,
    only_line,
    peer,
    run,
    run_process,
)

# Runs mqttws where one package cannot be imported.
WITHOUT = """
import runpy, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
sys.argv = ["mqttws", "demo"]
runpy.run_module("mqttws", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra_one_line_says_what_to_install(package: str) -> None:
    done = run_process(command=(sys.executable, "-c", WITHOUT.format(package=package)))
    assert done.returncode == 1
    assert done.stdout == ""
    line = only_line(done.stderr)
    assert line.startswith("mqttws: ")
    assert package in line
    assert "pip install 'mqttws[cli]'" in line


def test_a_missing_package_of_another_kind_is_not_taken_for_the_extra() -> None:
    done = run_process(command=(sys.executable, "-c", WITHOUT.format(package="json")))
    assert done.returncode == 1
    assert "No module named 'json" in done.stderr
    assert "mqttws[cli]" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("demo",),
        ("provision",),
        ("serve",),
        ("enroll",),
        ("fault",),
        ("derive-key",),
        ("provision-fleet",),
        ("doctor",),
        ("publish",),
        ("subscribe",),
        ("hub",),
    ],
)
def test_a_help_page_fits_80_columns_and_has_what_a_page_needs(command: tuple[str, ...]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80
    for needed in ("Usage:", "Examples:", "Exit codes:"):
        assert needed in done.stdout


def test_the_page_of_provision_tells_where_secrets_come_from() -> None:
    page = run("provision", "--help").stdout
    for needed in ("Environment:", "MQTTWS_KEY", "--key-file -", "Secrets:", "--trace"):
        assert needed in page


def test_no_option_takes_a_key() -> None:
    page = run("provision", "--help").stdout
    options = [line.split()[0:2] for line in page.splitlines() if line.startswith("  --")]
    with_key = [words for words in options if "key" in words[0]]
    assert with_key == [
        ["--key-file", "FILE"],
        ["--group-key", "The"],
        ["--cert-key", "FILE"],
        ["--cert-key-password-file", "FILE"],
    ]


def test_no_command_shows_the_help_page() -> None:
    assert run().stdout == run("--help").stdout


def test_the_version_is_the_packages() -> None:
    assert run_process("--version").stdout == f"mqttws {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("demo", "--no-such-option"),
        ("provision", "--id-scope", "0ne00LOCAL"),
        ("provision", "--id-scope", "s", "--registration-id", "d", "--port", "70000"),
        ("provision", "--id-scope", "s", "--registration-id", "d", "--host", "a/b"),
        ("provision", "--id-scope", "s", "--registration-id", "d", "--host", "me@b"),
        ("provision", "--id-scope", "s", "--registration-id", "d", "--path", "x"),
        ("provision", "--id-scope", "s", "--registration-id", "d", "--transport", "mqtt"),
        ("provision", "--id-scope", "s", "--registration-id", "d", "--timeout", "0"),
        ("serve", "--id-scope", "a/b"),
        ("serve", "--retry-after", "-1"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_2(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    line = only_line(done.stderr)
    assert line.startswith("mqttws: ")
    assert "--help" in line


def test_ctrl_c_ends_a_command_quietly_with_130() -> None:
    with peer() as port:
        running = Running(
            *("provision", "--id-scope", "s", "--registration-id", "d"),
            *("--host", "127.0.0.1", "--port", str(port), "--steps"),
            MQTTWS_KEY=KEY,
        )
        running.wait_for(" TCP ")
        assert running.end(signal.SIGINT) == 130
    assert running.stdout == []
    assert [line.split()[4] for line in running.stderr[1:]] == ["name", "TCP"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [("demo",), ("demo", "--json")])
def test_an_output_that_cannot_be_written_is_one_line(words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*MQTTWS, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE,
            env=environment(),
            check=False,
        )
    assert done.returncode == 1
    assert "No space left" in only_line(done.stderr)


def test_a_reader_that_leaves_early_ends_the_command_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        done = subprocess.run(
            [*MQTTWS, "demo"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE,
            env=environment(),
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a plain line", "a plain line"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x1b[31mred\x9b", "\\x1b[31mred\\x9b"),
        ("turned \u202e round", "turned \\u202e round"),
        ("zürich \udcff", "zürich \\udcff"),
    ],
)
def test_control_characters_of_foreign_text_are_written_out(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_the_help_explains_every_kind_of_fault():
    for command, kinds in (("fault", Kind), ("hub fault", FaultKind)):
        told = run(*command.split(), "--help").stdout
        assert [kind for kind in get_args(kinds) if kind not in told.partition("Kinds")[2]] == []


def test_help_needs_no_admin_api_and_a_variable_names_it():
    for command in ("enroll", "enroll device", "enroll put", "fault"):
        assert run(*command.split(), "--help").returncode == 0
    done = run("enroll", "list")
    assert done.returncode == 2
    assert "--admin" in only_line(done.stderr)
    assert "MQTTWS_ADMIN" in done.stderr
    done = run("enroll", "list", MQTTWS_ADMIN="http://127.0.0.1:1")
    assert "no admin API at http://127.0.0.1:1" in only_line(done.stderr)
    assert run("-V").stdout == run("--version").stdout
