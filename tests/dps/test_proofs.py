"""Every trap, status, error code and bad input has its test, on each side that it concerns."""

import ast
import re

import pytest

from mqttws.dps import codes as service_codes
from mqttws.dps import rejections
from tests import proven
from tests.dps import proofs
from tests.dps.proofs import Proof
from tests.notes import cells

PROOFS = proofs.read()
BY_ID = {proof.id: proof for proof in PROOFS}

STATUSES = (
    "202-register 202-poll 200-assigned 200-failed 200-disabled 400 401 404 405 409 412 415 429 5xx"
)
BAD_INPUT = "registration-id key common-name dates other-token se oversize json enrollments"


def test_every_fact_has_its_row_once() -> None:
    expected = {f"T{number}" for number in range(1, 25)}
    expected |= {f"S{status}" for status in STATUSES.split()}
    expected |= {f"B-{name}" for name in BAD_INPUT.split()}
    codes = {
        code for code in vars(service_codes).values() if isinstance(code, int) and code > 100_000
    }
    codes -= {service_codes.STORE_UNAVAILABLE}  # a row of its own: S5xx
    codes |= {*rejections.HINTS_BY_CODE, 500000}
    expected |= {f"E{code}" for code in codes if code % 1000 < 300 and code < 600_000}
    assert set(BY_ID) ^ expected == set()
    assert len(BY_ID) == len(PROOFS)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.id)
def test_each_side_has_a_test_or_a_reason(proof: Proof) -> None:
    assert proof.fact
    assert proof.service or proof.device
    assert (proof.service and proof.device) or proof.remark


def test_every_test_that_names_a_trap_is_in_its_row() -> None:
    missing = []
    for path in sorted(proven.TESTS.rglob("test_*.py")):
        for node in ast.walk(proven.parse(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            said = re.match(r"Rows? ([\d, and]+)", ast.get_docstring(node) or "")
            name = f"{path.relative_to(proven.TESTS).as_posix()}::{node.name}"
            for number in re.findall(r"\d+", said[1]) if said else ():
                row = BY_ID[f"T{number}"]
                if name not in (*row.service, *row.device):
                    missing.append((row.id, name))
    assert missing == []


def test_the_page_has_every_row_with_its_tests() -> None:
    rows = cells(proofs.render(PROOFS))
    assert [row[0] for row in rows] == [proof.id for proof in PROOFS]
    for proof, (_, _, service, device, _) in zip(PROOFS, rows, strict=True):
        assert re.findall("`(.+?)`", service) == list(proof.service)
        assert re.findall("`(.+?)`", device) == list(proof.device)
