"""Devices behind a firewall: nftables in a namespace, whose counters show what was tried."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import peer_missing, require_program
from ..namespace import in_namespace
from .firewalled import CASES

NAMES = [case.__name__ for case in CASES]


@pytest.mark.apart
@pytest.mark.parametrize("cases", [NAMES[at : at + 4] for at in range(0, len(NAMES), 4)])
def test_behind_a_firewall(cases: list[str]) -> None:
    require_program("nft")
    if os.geteuid() != 0:
        peer_missing("only root may set up a firewall")
    done = subprocess.run(
        in_namespace([sys.executable, "-m", "tests.net.firewalled", *cases]),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
