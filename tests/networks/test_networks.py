"""The table of networks: each family runs in namespaces of its own, as root."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..conftest import peer_missing, require_program
from ..namespace import in_namespace
from .examine import FAMILIES, rows_of
from .table import PAGE, render

FAST = {"arguments", "certificates", "ca_files"}
"""Families that take few seconds; the others wait for silences."""


def run_family(family: str, *options: str, limit: float = 300.0) -> list[dict[str, Any]]:
    """Run a family; return what was found in each network."""
    require_program("nft")
    if os.geteuid() != 0:
        peer_missing("only root may set up a firewall")
    done = subprocess.run(
        in_namespace([sys.executable, "-m", "tests.networks.examine", family, *options]),
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=[] if family in FAST else [pytest.mark.slow])
        for family in FAMILIES
    ],
)
def test_every_network_of_a_family_is_found_out(family: str) -> None:
    found = run_family(family)
    assert [each["row"] for each in found] == [row.name for row in rows_of(family)]
    faulty = [
        f"{each['row']}: {each['faults']}\n{each['text']}" for each in found if each["faults"]
    ]
    assert not faulty, "\n\n".join(faulty)


@pytest.mark.slow
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "arguments"])
def test_the_official_sdk_registers_in_no_network_in_which_we_do_not(family: str) -> None:
    found = run_family(family, "--sdk", limit=1800.0)
    ahead = [
        f"{each['row']}: {each['provision']}"
        for each in found
        if each["sdk"] == "assigned" and not each["assigned"]
    ]
    assert not ahead, "\n".join(ahead)


def test_there_are_enough_networks() -> None:
    assert sum(len(rows_of(family)) for family in FAMILIES) >= 150


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "python -m tests.networks.table"
