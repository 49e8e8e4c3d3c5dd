"""Commands' options that stand for options of a call have the table's sentence and default."""

from collections.abc import Iterator
from typing import Any, get_args

import click
import pytest

from mqttws.cli.app import app
from mqttws.cli.table import TableOption
from mqttws.dps.faults import StruckHop
from mqttws.dps.issuance import ChainFault
from mqttws.local.dps_events import EventKind
from mqttws.options import (
    CHAIN_FAULTS,
    CLIENT,
    CREATE_DEVICE,
    DIAGNOSE,
    DPS_FAULT,
    DPS_HOPS,
    EVENT_KINDS,
    FLEET,
    HUB_CLIENT,
    HUB_FAULT,
    LOCAL_DPS,
    PATCH_TWIN,
    PROVISION,
    SEND,
    SERVICE_INVOKE,
    Table,
)

from .shell import run

TABLES: dict[str, Table] = {
    "provision": PROVISION,
    "provision-fleet": FLEET,
    "doctor": DIAGNOSE,
    "publish": CLIENT,
    "subscribe": CLIENT,
    "serve": LOCAL_DPS,
    "device run": HUB_CLIENT,
    "fault": DPS_FAULT,
    "hub fault": HUB_FAULT,
    "hub send": SEND,
    "hub invoke": SERVICE_INVOKE,
    "hub twin": PATCH_TWIN,
    "hub create-device": CREATE_DEVICE,
}
"""The table of the call that each command makes."""

OTHER = {
    ("provision", "payload"): "a file, which holds it",
    ("doctor", "host"): "an argument of the command",
    ("publish", "payload"): "the message's",
    ("serve", "enrollments"): "a file, which holds them",
    ("serve", "hubs"): "each is given by itself",
    ("serve", "credential_policies"): "each is given by itself",
    ("serve", "issuing_ca"): "two files",
    ("serve", "connection_profiles"): "each is given by itself",
    ("provision", "issue"): "a folder, which holds it",
    ("fault", "times"): "0 for always, as the shell has no None",
    ("hub fault", "times"): "0 for always, as the shell has no None",
    ("hub send", "properties"): "each is given by itself",
    ("hub twin", "desired"): "JSON",
    ("hub twin", "tags"): "JSON",
    ("hub create-device", "certificate"): "a file, which holds it",
}
"""Options of the same name, and what else they are."""

OTHER_DEFAULTS = {
    ("serve", "wss_port"): 443,  # a server's usual ports
    ("serve", "mqtts_port"): 8883,
    ("device run", "hub"): None,  # DPS tells it otherwise
    ("device run", "connect_timeout"): None,  # it is DPS's limit too, which has another default
}


def commands() -> Iterator[tuple[str, click.Command]]:
    for name in TABLES:
        command: Any = app
        for word in name.split():
            command = command.get_command(click.Context(command), word)
        yield name, command


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=str)
def test_an_option_has_the_sentence_and_the_default_of_its_table(
    name: str, command: click.Command
) -> None:
    table = TABLES[name]
    found = 0
    for parameter in command.params:
        known = table.get(parameter.name or "")
        if known is None or (name, parameter.name) in OTHER:
            continue
        assert isinstance(parameter, TableOption), parameter.name
        found += 1
        assert parameter.help is not None
        assert parameter.help.startswith(known.sentence), parameter.name
        if parameter.required or callable(parameter.default) or name.endswith("fault"):
            continue
        default = OTHER_DEFAULTS.get((name, parameter.name or ""), known.default)
        assert parameter.default == default, parameter.name
        assert default is None or (name, parameter.name) in OTHER_DEFAULTS or known.allows(default)
    assert found >= (1 if name.startswith("hub") else 3)


def test_the_words_of_a_table_are_those_of_the_type() -> None:
    """A table knows no other module: it has its words by itself."""
    assert get_args(ChainFault) == CHAIN_FAULTS
    assert get_args(StruckHop) == DPS_HOPS
    assert get_args(EventKind) == EVENT_KINDS


def test_no_other_flag_says_what_a_table_says_better() -> None:
    """A flag of any command that bears the name of an option is the table's or explained."""
    for name, command in commands():
        for parameter in command.params:
            if isinstance(parameter, TableOption):
                assert parameter.name in {*TABLES[name], "qos"}


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("doctor h --port 0", "--port"),
        ("doctor h --port x", "--port"),
        ("doctor h --timeout 0", "--timeout"),
        ("doctor h --timeout nan", "--timeout"),
        ("doctor h --transport ws", "'wss', 'mqtts'"),
        ("provision --id-scope a/b --registration-id d", "--id-scope"),
        ("provision --id-scope 0ne00X --registration-id d --pipelined x", "--pipelined"),
        ("provision-fleet f --id-scope 0ne00X --concurrency 1.5", "--concurrency"),
        ("publish mqtt://h t --keep-alive 65536", "--keep-alive"),
        ("publish mqtt://h t --qos 3", "--qos"),
        ("serve --wss-port 65536", "--wss-port"),
        ("provision --id-scope 0ne00X --registration-id d --proxy ", "--proxy"),
        ("doctor h --proxy ", "--proxy"),
        ("fault --admin http://127.0.0.1:1 answer --status 99", "--status"),
        ("fault --admin http://127.0.0.1:1 answer --probability 2", "--probability"),
        ("fault --admin http://127.0.0.1:1 answer --hop x", "--hop"),
        ("hub fault answer --status 200", "--status"),
        ("hub fault bad-chain --chain x", "--chain"),
        ("hub send d m --ack x", "--ack"),
        ("hub send d m --expires-in -1", "--expires-in"),
        ("hub invoke d m --timeout 2", "--timeout"),
        ("hub invoke d m --connect-timeout 301", "--connect-timeout"),
    ],
)
def test_what_a_table_does_not_allow_is_refused(words: str, part: str) -> None:
    done = run(*words.split(" "))
    assert done.returncode == 2
    assert part in done.stderr
    assert "allowed" in done.stderr or "is not one of" in done.stderr
